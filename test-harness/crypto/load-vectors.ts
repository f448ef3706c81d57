import type { AeadVector, CryptoVectors, MacVector } from "./vector-suite.js";

/** A test of Wycheproof, as far as its file has the field. */
interface WycheproofTest {
	readonly tcId: number;
	readonly comment: string;
	readonly result: "valid" | "invalid" | "acceptable";
	readonly key?: string;
	readonly iv?: string;
	readonly aad?: string;
	readonly msg?: string;
	readonly ct?: string;
	readonly tag?: string;
	readonly ikm?: string;
	readonly salt?: string;
	readonly info?: string;
	readonly size?: number;
	readonly okm?: string;
}

interface WycheproofGroup {
	readonly keySize?: number;
	readonly tagSize?: number;
	readonly tests: readonly WycheproofTest[];
}

type Found = WycheproofTest & { readonly name: string; readonly keySize: number; readonly tagSize: number };

function testsOf(file: string, text: string): Found[] {
	const { testGroups } = JSON.parse(text) as { testGroups: readonly WycheproofGroup[] };
	return testGroups.flatMap(({ keySize = 0, tagSize = 0, tests }) =>
		tests.map((test) => ({ ...test, keySize, tagSize, name: `Wycheproof ${file} ${test.tcId} ${test.comment}` })),
	);
}

/** Names of Wycheproof files that the meter's algorithms have, and what they become. Keys of 192 and 256 bits are left out. */
export const WYCHEPROOF_FILES = {
	gcm: "aes_gcm_test.json",
	ccm: "aes_ccm_test.json",
	keyWrap: "aes_wrap_test.json",
	cmac: "aes_cmac_test.json",
	hmac: "hmac_sha256_test.json",
	hkdf: "hkdf_sha256_test.json",
} as const;

function aeadsOf(tests: readonly Found[]): AeadVector[] {
	return tests
		.filter(({ keySize }) => keySize === 128)
		.map(({ name, key = "", iv = "", aad = "", msg = "", ct = "", tag = "", tagSize, result }) => ({
			name,
			key,
			nonce: iv,
			aad,
			text: msg,
			sealed: ct + tag,
			tagBytes: tagSize / 8,
			isValid: result === "valid",
		}));
}

function macsOf(tests: readonly Found[], isKeyAllowed: (keySize: number) => boolean): MacVector[] {
	return tests
		.filter(({ keySize }) => isKeyAllowed(keySize))
		.map(({ name, key = "", msg = "", tag = "", result }) => ({
			name,
			key,
			data: msg,
			tag,
			isValid: result === "valid",
		}));
}

export function fromWycheproof(kind: keyof typeof WYCHEPROOF_FILES, text: string): CryptoVectors {
	const tests = testsOf(WYCHEPROOF_FILES[kind], text);
	switch (kind) {
		case "gcm":
			return { gcm: aeadsOf(tests) };
		case "ccm":
			return { ccm: aeadsOf(tests) };
		case "cmac":
			return { cmac: macsOf(tests, (keySize) => keySize === 128) };
		case "hmac":
			return { hmac: macsOf(tests, () => true) };
		case "keyWrap":
			return {
				keyWrap: tests
					.filter(({ keySize }) => keySize === 128)
					.map(({ name, key = "", msg = "", ct = "", result }) => ({
						name,
						key,
						text: msg,
						wrapped: ct,
						isValid: result === "valid",
					})),
			};
		case "hkdf":
			return {
				hkdf: tests.map(({ name, ikm = "", salt = "", info = "", size = 0, okm = "", result }) => ({
					name,
					salt,
					secret: ikm,
					info,
					byteLength: size,
					...(result === "valid" ? { output: okm } : {}),
				})),
			};
	}
}

type KatRecord = Readonly<Record<string, string>>;

/** Records of `Key = value` lines below a heading; a record ends with its expected result. */
function recordsOf(text: string, heading: string): KatRecord[] {
	const records: KatRecord[] = [];
	let section = "";
	let record: Record<string, string> = {};
	for (const line of text.split(/\r?\n/)) {
		const title = /^\[(.*)\]$/.exec(line);
		if (title) section = title[1]!;
		const field = /^(\w+)\s*=\s*(\S*)$/.exec(line);
		if (!field || section !== heading) continue;
		record[field[1]!] = field[2]!.toLowerCase();
		if (["Out", "Output"].includes(field[1]!)) {
			records.push(record);
			record = {};
		}
	}
	return records;
}

/** The text files of NIST and RFC answers, see crypto-kat in the shared data. */
export const KAT_FILES = {
	sha256: "sha256_even.vec",
	hmac: "hmac_sha256.vec",
	cmac: "cmac_sp800_38b.vec",
	hkdf: "hkdf_rfc5869.vec",
	keyWrap: "nist_key_wrap_even.vec",
	drbg: "hmac_drbg_sha256_even.vec",
} as const;

export function fromKat(kind: keyof typeof KAT_FILES, text: string): CryptoVectors {
	const file = KAT_FILES[kind];
	const records = (heading: string): (KatRecord & { readonly name: string })[] =>
		recordsOf(text, heading).map((record, i) => ({ ...record, name: `${file} [${heading}] ${i + 1}` }));
	const hasShortKey = ({ Key = "" }: KatRecord): boolean => Key.length === 32;
	const mac = ({ name, Key = "", In = "", Out = "" }: KatRecord & { readonly name: string }): MacVector => ({
		name,
		key: Key,
		data: In,
		tag: Out,
		isValid: true,
	});
	switch (kind) {
		case "sha256":
			return { sha256: records("SHA-256").map(({ name, In = "", Out = "" }) => ({ name, data: In, digest: Out })) };
		case "hmac":
			return { hmac: records("HMAC(SHA-256)").map(mac) };
		case "cmac":
			return { cmac: records("CMAC(AES-128)").filter(hasShortKey).map(mac) };
		case "hkdf":
			return {
				hkdf: records("HKDF(HMAC(SHA-256))").map(({ name, Salt = "", Label = "", Secret = "", Output = "" }) => ({
					name,
					salt: Salt,
					secret: Secret,
					info: Label,
					byteLength: Output.length / 2,
					output: Output,
				})),
			};
		case "keyWrap":
			return {
				keyWrap: records("KW")
					.filter(hasShortKey)
					// RFC 3394 starts at 16 bytes; one record has 8
					.filter(({ Input = "" }) => Input.length >= 32)
					.map(({ name, Key = "", Input = "", Output = "" }) => ({
						name,
						key: Key,
						text: Input,
						wrapped: Output,
						isValid: true,
					})),
			};
		case "drbg":
			return {
				drbg: records("SHA-256").map((record) => ({
					name: record.name,
					seed: record["EntropyInput"] ?? "",
					reseed: record["EntropyInputReseed"] ?? "",
					additional: [record["AdditionalInput1"] ?? "", record["AdditionalInput2"] ?? ""] as const,
					output: record["Out"] ?? "",
				})),
			};
	}
}
