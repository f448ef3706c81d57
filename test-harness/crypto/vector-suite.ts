import { Status, statusName } from "../../src/bytes/status.js";
import { type Aead, type Crypto, KEY_WRAP_BYTES, type Mac, SHA256_BYTES } from "../../src/crypto/crypto.js";
import { HmacDrbg } from "../../src/crypto/drbg.js";

/** Known answers; every value in hexadecimal. `name` says where an answer comes from. */
export interface CryptoVectors {
	readonly sha256?: readonly { readonly name: string; readonly data: string; readonly digest: string }[];
	readonly hmac?: readonly MacVector[];
	readonly cmac?: readonly MacVector[];
	readonly hkdf?: readonly {
		readonly name: string;
		readonly salt: string;
		readonly secret: string;
		readonly info: string;
		readonly byteLength: number;
		/** Absent: refused with `badLength`. */
		readonly output?: string;
	}[];
	readonly kdf?: readonly {
		readonly name: string;
		readonly key: string;
		readonly label: number;
		readonly context: string;
		readonly output: string;
	}[];
	readonly aes?: readonly {
		readonly name: string;
		readonly key: string;
		readonly text: string;
		readonly block: string;
	}[];
	readonly gcm?: readonly AeadVector[];
	readonly ccm?: readonly AeadVector[];
	readonly keyWrap?: readonly {
		readonly name: string;
		readonly key: string;
		readonly text: string;
		readonly wrapped: string;
		readonly isValid: boolean;
	}[];
	readonly drbg?: readonly {
		readonly name: string;
		readonly seed: string;
		readonly reseed: string;
		readonly additional: readonly [string, string];
		readonly output: string;
	}[];
}

export interface MacVector {
	readonly name: string;
	readonly key: string;
	readonly data: string;
	readonly tag: string;
	readonly isValid: boolean;
}

export interface AeadVector {
	readonly name: string;
	readonly key: string;
	readonly nonce: string;
	readonly aad: string;
	readonly text: string;
	/** Encrypted bytes and tag. */
	readonly sealed: string;
	readonly tagBytes: number;
	readonly isValid: boolean;
}

export interface SuiteResult {
	/** Vectors that were run. */
	readonly count: number;
	readonly failures: readonly string[];
}

/** Bytes before and after an output, which must stay as they are. */
const MARGIN = 3;
const GUARD = 0x5a;

export function fromHex(text: string): Uint8Array {
	const bytes = new Uint8Array(text.length / 2);
	for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
	return bytes;
}

export function toHex(bytes: Uint8Array): string {
	let text = "";
	for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
	return text;
}

/** One place for output with guards around it; the same array again and again, so that what was left behind shows. */
class Output {
	readonly array: Uint8Array;
	readonly offset = MARGIN;
	readonly #byteLength: number;

	constructor(byteLength: number, start: Uint8Array = new Uint8Array(0)) {
		this.#byteLength = byteLength;
		this.array = new Uint8Array(MARGIN + Math.max(byteLength, start.length) + MARGIN).fill(GUARD);
		this.array.set(start, MARGIN);
	}

	get hex(): string {
		return toHex(this.array.subarray(MARGIN, MARGIN + this.#byteLength));
	}

	/** Whether nothing but the output was written. @param inPlaceBytes of an input that lay there and may be longer */
	isClean(inPlaceBytes = 0): boolean {
		const end = MARGIN + Math.max(this.#byteLength, inPlaceBytes);
		return this.array.every((byte, i) => (i >= MARGIN && i < end) || byte === GUARD);
	}
}

/** The bytes with other bytes around them, so that offsets count; at an odd address. */
function embedded(bytes: Uint8Array): Uint8Array {
	const array = new Uint8Array(MARGIN + bytes.length + 1).fill(GUARD);
	array.set(bytes, MARGIN);
	return array;
}

function zeros(byteLength: number): string {
	return "00".repeat(byteLength);
}

/** Runs every vector over one implementation, each in more than one way. No test framework, no Node: it runs on XS too. */
export function runVectorSuite(crypto: Crypto, vectors: CryptoVectors): SuiteResult {
	const failures: string[] = [];
	let count = 0;
	const expect = (name: string, what: string, found: unknown, wanted: unknown): void => {
		if (found !== wanted) failures.push(`${name}: ${what} is ${String(found)}, wanted ${String(wanted)}`);
	};
	const run = <T extends { readonly name: string }>(
		kind: string,
		list: readonly T[] | undefined,
		check: (vector: T, name: string) => void,
	): void => {
		for (const vector of list ?? []) {
			const name = `${kind} ${vector.name}`;
			count++;
			try {
				check(vector, name);
			} catch (error) {
				failures.push(`${name}: threw ${String(error)}`);
			}
		}
	};

	const hash = crypto.createSha256();
	run("sha256", vectors.sha256, ({ data, digest }, name) => {
		const bytes = fromHex(data);
		const input = embedded(bytes);
		for (const byteLength of [SHA256_BYTES, 20, 16, 0]) {
			const output = new Output(byteLength);
			crypto.sha256(input, MARGIN, bytes.length, output.array, output.offset, byteLength);
			expect(name, `digest of ${byteLength} bytes`, output.hex, digest.toLowerCase().slice(0, 2 * byteLength));
			expect(name, "nothing else written", output.isClean(), true);
		}
		for (const step of [1, 13, 64, 1000]) {
			if (bytes.length / step > 2000) continue;
			for (let done = 0; done < bytes.length; done += step)
				hash.update(input, MARGIN + done, Math.min(step, bytes.length - done));
			const output = new Output(SHA256_BYTES);
			hash.digest(output.array, output.offset, SHA256_BYTES);
			expect(name, `digest in steps of ${step}`, output.hex, digest.toLowerCase());
		}
		// a message that was begun and given up leaves nothing
		hash.update(input, MARGIN, bytes.length);
		hash.reset();
	});
	hash.close();

	const checkMac = (mac: Mac, tagBytesMax: number, vector: MacVector, name: string): void => {
		const key = fromHex(vector.key);
		const data = fromHex(vector.data);
		const tag = fromHex(vector.tag);
		const input = embedded(data);
		mac.setKey(embedded(key), MARGIN, key.length);
		const verify = (): string => statusName(mac.verify(input, MARGIN, data.length, embedded(tag), MARGIN, tag.length));
		if (!vector.isValid) {
			expect(name, "verify", verify(), "badTag");
			return;
		}
		for (const byteLength of [tag.length, 1]) {
			const output = new Output(byteLength);
			mac.sign(input, MARGIN, data.length, output.array, output.offset, byteLength);
			expect(name, `tag of ${byteLength} bytes`, output.hex, vector.tag.toLowerCase().slice(0, 2 * byteLength));
			expect(name, "nothing else written", output.isClean(), true);
		}
		expect(name, "verify", verify(), "ok");
		for (const at of [0, tag.length - 1]) {
			tag[at]! ^= 0x80;
			expect(name, `verify with another byte ${at}`, verify(), "badTag");
			tag[at]! ^= 0x80;
		}
		if (data.length > 0) {
			input[MARGIN + data.length - 1]! ^= 1;
			expect(name, "verify with other data", verify(), "badTag");
			input[MARGIN + data.length - 1]! ^= 1;
		}
		if (data.length >= tag.length && tag.length <= tagBytesMax) {
			// the tag may take the place of the data
			const output = new Output(tag.length, data);
			mac.sign(output.array, output.offset, data.length, output.array, output.offset, tag.length);
			expect(name, "tag in place", output.hex, vector.tag.toLowerCase());
		}
	};
	const hmac = crypto.createHmac();
	run("hmac", vectors.hmac, (vector, name) => checkMac(hmac, SHA256_BYTES, vector, name));
	hmac.close();
	const cmac = crypto.createCmac();
	run("cmac", vectors.cmac, (vector, name) => checkMac(cmac, 16, vector, name));
	cmac.close();

	run("hkdf", vectors.hkdf, (vector, name) => {
		const salt = fromHex(vector.salt);
		const secret = fromHex(vector.secret);
		const info = fromHex(vector.info);
		const output = new Output(vector.byteLength);
		const status = crypto.hkdf(
			embedded(salt),
			MARGIN,
			salt.length,
			embedded(secret),
			MARGIN,
			secret.length,
			embedded(info),
			MARGIN,
			info.length,
			output.array,
			output.offset,
			vector.byteLength,
		);
		expect(name, "status", statusName(status), vector.output === undefined ? "badLength" : "ok");
		if (vector.output !== undefined) expect(name, "output", output.hex, vector.output.toLowerCase());
		expect(name, "nothing else written", output.isClean(), true);
	});

	run("kdf", vectors.kdf, ({ key, label, context, output: wanted }, name) => {
		const keyBytes = fromHex(key);
		const contextBytes = fromHex(context);
		const byteLength = wanted.length / 2;
		const output = new Output(byteLength);
		crypto.kdf(
			embedded(keyBytes),
			MARGIN,
			keyBytes.length,
			label,
			embedded(contextBytes),
			MARGIN,
			contextBytes.length,
			output.array,
			output.offset,
			byteLength,
		);
		expect(name, "output", output.hex, wanted);
		expect(name, "nothing else written", output.isClean(), true);
		const place = new Output(byteLength, keyBytes);
		crypto.kdf(
			place.array,
			place.offset,
			keyBytes.length,
			label,
			contextBytes,
			0,
			contextBytes.length,
			place.array,
			place.offset,
			byteLength,
		);
		expect(name, "output in place of the key", place.hex, wanted);
	});

	const aes = crypto.createAes();
	run("aes", vectors.aes, ({ key, text, block }, name) => {
		aes.setKey(embedded(fromHex(key)), MARGIN);
		const output = new Output(16, fromHex(text));
		aes.encryptBlock(output.array, output.offset, output.array, output.offset);
		expect(name, "block", output.hex, block);
		expect(name, "nothing else written", output.isClean(), true);
	});
	aes.close();

	const aeads = new Map<string, Aead>();
	const checkAead = (mode: "gcm" | "ccm", vector: AeadVector, name: string): void => {
		const nonce = fromHex(vector.nonce);
		const aad = fromHex(vector.aad);
		const text = fromHex(vector.text);
		const sealed = fromHex(vector.sealed);
		const kind = `${mode} ${nonce.length} ${vector.tagBytes}`;
		let aead = aeads.get(kind);
		if (!aead) {
			try {
				const make = mode === "gcm" ? "createGcm" : "createCcm";
				aead = crypto[make](nonce.length, vector.tagBytes);
			} catch (error) {
				if (vector.isValid) throw error;
				return; // lengths that the mode does not have
			}
			aeads.set(kind, aead);
		}
		aead.setKey(embedded(fromHex(vector.key)), MARGIN);
		const nonceIn = embedded(nonce);
		const aadIn = embedded(aad);
		const textBytes = sealed.length - vector.tagBytes;
		const open = (what: string, wantedStatus: string, wantedText: string): void => {
			for (const isInPlace of [false, true]) {
				const output = new Output(textBytes, isInPlace ? sealed : undefined);
				const status = aead.open(
					nonceIn,
					MARGIN,
					aadIn,
					MARGIN,
					aad.length,
					isInPlace ? output.array : embedded(sealed),
					MARGIN,
					sealed.length,
					output.array,
					output.offset,
				);
				expect(name, `open${what}, in place ${isInPlace}`, statusName(status), wantedStatus);
				expect(name, `text${what}, in place ${isInPlace}`, output.hex, wantedText);
				expect(name, `nothing else written${what}`, output.isClean(isInPlace ? sealed.length : 0), true);
			}
		};
		if (!vector.isValid) {
			open("", "badTag", zeros(textBytes));
			return;
		}
		for (const isInPlace of [false, true]) {
			const output = new Output(sealed.length, isInPlace ? text : undefined);
			const status = aead.seal(
				nonceIn,
				MARGIN,
				aadIn,
				MARGIN,
				aad.length,
				isInPlace ? output.array : embedded(text),
				MARGIN,
				text.length,
				output.array,
				output.offset,
			);
			expect(name, `seal, in place ${isInPlace}`, statusName(status), "ok");
			expect(name, `sealed bytes, in place ${isInPlace}`, output.hex, vector.sealed.toLowerCase());
			expect(name, "nothing else written", output.isClean(), true);
		}
		open("", "ok", vector.text.toLowerCase());
		if (vector.tagBytes === 0) return;
		for (const at of [0, textBytes, sealed.length - 1]) {
			sealed[at]! ^= 1;
			open(` with another byte ${at}`, "badTag", zeros(textBytes));
			sealed[at]! ^= 1;
		}
		if (aad.length > 0) {
			aadIn[MARGIN + aad.length - 1]! ^= 0x80;
			open(" with other associated data", "badTag", zeros(textBytes));
			aadIn[MARGIN + aad.length - 1]! ^= 0x80;
		}
		nonceIn[MARGIN]! ^= 1;
		open(" with another nonce", "badTag", zeros(textBytes));
		const short = aead.open(nonceIn, MARGIN, aadIn, MARGIN, 0, sealed, 0, vector.tagBytes - 1, sealed, 0);
		expect(name, "open of less than a tag", statusName(short), "badLength");
	};
	run("gcm", vectors.gcm, (vector, name) => checkAead("gcm", vector, name));
	run("ccm", vectors.ccm, (vector, name) => checkAead("ccm", vector, name));
	for (const aead of aeads.values()) aead.close();

	const wrap = crypto.createKeyWrap();
	run("keyWrap", vectors.keyWrap, (vector, name) => {
		const text = fromHex(vector.text);
		const wrapped = fromHex(vector.wrapped);
		wrap.setKey(embedded(fromHex(vector.key)), MARGIN);
		const textBytes = wrapped.length - KEY_WRAP_BYTES;
		const hasLength = wrapped.length >= 24 && wrapped.length % 8 === 0;
		const unwrap = (what: string, wantedStatus: string, wantedText: string): void => {
			for (const isInPlace of [false, true]) {
				const output = new Output(Math.max(textBytes, 0), isInPlace ? wrapped : undefined);
				const status = wrap.unwrap(
					isInPlace ? output.array : embedded(wrapped),
					MARGIN,
					wrapped.length,
					output.array,
					output.offset,
				);
				expect(name, `unwrap${what}, in place ${isInPlace}`, statusName(status), wantedStatus);
				if (hasLength) expect(name, `key${what}, in place ${isInPlace}`, output.hex, wantedText);
				expect(name, "nothing else written", output.isClean(isInPlace ? wrapped.length : 0), true);
			}
		};
		if (!vector.isValid) {
			unwrap("", hasLength ? "badTag" : "badLength", hasLength ? zeros(textBytes) : "");
			return;
		}
		for (const isInPlace of [false, true]) {
			const output = new Output(wrapped.length, isInPlace ? text : undefined);
			const from = isInPlace ? output.array : embedded(text);
			const status = wrap.wrap(from, MARGIN, text.length, output.array, output.offset);
			expect(name, `wrap, in place ${isInPlace}`, statusName(status), "ok");
			expect(name, `wrapped, in place ${isInPlace}`, output.hex, vector.wrapped.toLowerCase());
			expect(name, "nothing else written", output.isClean(), true);
		}
		unwrap("", "ok", vector.text.toLowerCase());
		wrapped[wrapped.length - 1]! ^= 1;
		unwrap(" with another byte", "badTag", zeros(textBytes));
	});
	wrap.close();

	const drbg = new HmacDrbg(crypto);
	run("drbg", vectors.drbg, ({ seed, reseed, additional, output: wanted }, name) => {
		const material = fromHex(seed);
		const second = fromHex(reseed);
		drbg.instantiate(material, material.length);
		drbg.reseed(second, second.length);
		const output = new Output(wanted.length / 2);
		for (const text of additional) {
			const bytes = fromHex(text);
			const status = drbg.generate(output.array, output.offset, wanted.length / 2, bytes, bytes.length);
			expect(name, "status", statusName(status), "ok");
		}
		expect(name, "second output", output.hex, wanted.toLowerCase());
		expect(name, "nothing else written", output.isClean(), true);
	});
	drbg.close();
	return { count, failures };
}

/** What every implementation refuses, and what closing leaves. @returns failures */
export function runMisuseSuite(crypto: Crypto): SuiteResult {
	const failures: string[] = [];
	let count = 0;
	const throws = (what: string, call: () => unknown): void => {
		count++;
		try {
			failures.push(`${what}: answered ${String(call())}, wanted a throw`);
		} catch {
			// as it should
		}
	};
	const bytes = new Uint8Array(64);
	const is = (what: string, found: unknown, wanted: unknown): void => {
		count++;
		if (found !== wanted) failures.push(`${what}: ${String(found)}, wanted ${String(wanted)}`);
	};

	is("equal", crypto.equal(bytes, 0, bytes, 7, 13), true);
	is("equal of nothing", crypto.equal(bytes, 64, bytes, 64, 0), true);
	for (let i = 0; i < 13; i++) {
		const other = new Uint8Array(13);
		other[i] = 1 << (i % 8);
		is(`equal with another byte ${i}`, crypto.equal(bytes, 0, other, 0, 13), false);
	}
	throws("equal beyond the end", () => crypto.equal(bytes, 60, bytes, 0, 5));

	throws("sha256 beyond the end", () => crypto.sha256(bytes, 60, 5, bytes, 0, 32));
	throws("sha256 from a negative offset", () => crypto.sha256(bytes, -1, 5, bytes, 0, 32));
	throws("sha256 into too little", () => crypto.sha256(bytes, 0, 5, bytes, 40, 32));
	throws("sha256 of 33 bytes", () => crypto.sha256(bytes, 0, 5, bytes, 0, 33));
	throws("kdf with a long key", () => crypto.kdf(bytes, 0, 33, 1, bytes, 0, 0, bytes, 0, 16));
	throws("kdf with a long context", () => crypto.kdf(bytes, 0, 32, 1, bytes, 0, 23, bytes, 0, 16));
	throws("kdf with a long label", () => crypto.kdf(bytes, 0, 32, 256, bytes, 0, 2, bytes, 0, 16));
	throws("hkdf into too little", () => crypto.hkdf(bytes, 0, 0, bytes, 0, 1, bytes, 0, 0, bytes, 60, 5));

	const hash = crypto.createSha256();
	hash.close();
	throws("update of a closed hash", () => hash.update(bytes, 0, 1));
	hash.reset();
	hash.digest(bytes, 0, 4);
	is("hash after close and reset", toHex(bytes.subarray(0, 4)), "e3b0c442");

	for (const [name, mac] of [
		["hmac", crypto.createHmac()],
		["cmac", crypto.createCmac()],
	] as const) {
		throws(`${name} without a key`, () => mac.sign(bytes, 0, 1, bytes, 0, 16));
		mac.setKey(bytes, 0, 16);
		throws(`${name} of 33 bytes`, () => mac.sign(bytes, 0, 1, bytes, 0, 33));
		throws(`${name} verify of nothing`, () => mac.verify(bytes, 0, 1, bytes, 0, 0));
		mac.close();
		throws(`${name} after close`, () => mac.verify(bytes, 0, 1, bytes, 0, 16));
	}
	const cmac = crypto.createCmac();
	throws("cmac with 15 bytes of key", () => cmac.setKey(bytes, 0, 15));

	for (const [name, make] of [
		["gcm", () => crypto.createGcm(12, 16)],
		["ccm", () => crypto.createCcm(13, 8)],
	] as const) {
		const aead = make();
		throws(`${name} without a key`, () => aead.seal(bytes, 0, bytes, 0, 0, bytes, 16, 8, bytes, 16));
		aead.setKey(bytes, 0);
		throws(`${name} into too little`, () => aead.seal(bytes, 0, bytes, 0, 0, bytes, 16, 48, bytes, 16));
		throws(`${name} with a short nonce`, () => aead.seal(bytes, 60, bytes, 0, 0, bytes, 16, 8, bytes, 16));
		throws(`${name} overlapping`, () => aead.seal(bytes, 0, bytes, 0, 0, bytes, 16, 8, bytes, 17));
		throws(`${name} open overlapping`, () => aead.open(bytes, 0, bytes, 0, 0, bytes, 16, 40, bytes, 15));
		aead.close();
		throws(`${name} after close`, () => aead.seal(bytes, 0, bytes, 0, 0, bytes, 16, 8, bytes, 16));
	}
	throws("gcm with a tag of 11 bytes", () => crypto.createGcm(12, 11));
	throws("gcm without a nonce", () => crypto.createGcm(0, 16));
	throws("ccm with a tag of 2 bytes", () => crypto.createCcm(13, 2));
	throws("ccm with a nonce of 14 bytes", () => crypto.createCcm(14, 8));

	const long = new Uint8Array(65_536 + 8);
	const ccm = crypto.createCcm(13, 8);
	ccm.setKey(bytes, 0);
	is("ccm of 65,536 bytes", ccm.seal(bytes, 0, bytes, 0, 0, long, 0, 65_536, long, 0), Status.badLength);

	const wrap = crypto.createKeyWrap();
	throws("key wrap without a key", () => wrap.wrap(bytes, 0, 16, bytes, 0));
	wrap.setKey(bytes, 0);
	throws("key wrap into too little", () => wrap.wrap(bytes, 0, 32, bytes, 40));
	for (const byteLength of [0, 8, 15, 17])
		is(`key wrap of ${byteLength}`, wrap.wrap(bytes, 0, byteLength, bytes, 0), Status.badLength);
	for (const byteLength of [0, 7, 8, 16, 25])
		is(`key unwrap of ${byteLength}`, wrap.unwrap(bytes, 0, byteLength, bytes, 0), Status.badLength);
	return { count, failures };
}
