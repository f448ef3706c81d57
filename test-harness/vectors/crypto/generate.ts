import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ZERO_NONCE } from "../../../src/crypto/crypto.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { type AeadVector, type CryptoVectors, type MacVector, toHex } from "../../crypto/vector-suite.js";
import { ROOT } from "../../root.js";

/**
 * The core set: published answers with their place, then answers of OpenSSL (through node:crypto) for the lengths where
 * implementations go wrong. `node --import tsx test-harness/vectors/crypto/generate.ts` writes core.json anew; a test
 * compares.
 */
export const CORE_FILE = join(ROOT, "test-harness", "vectors", "crypto", "core.json");

const LENGTHS = [0, 1, 11, 13, 16, 17, 31, 32, 55, 56, 64, 65, 1024];

/** Bytes 7 i + start, modulo 251: no period that a block size divides. */
function pattern(byteLength: number, start: number): Uint8Array {
	return Uint8Array.from({ length: byteLength }, (_, i) => (7 * i + start) % 251);
}

function counted(first: number, byteLength: number): string {
	return toHex(Uint8Array.from({ length: byteLength }, (_, i) => first + i));
}

const OPENSSL = "OpenSSL through node:crypto, inputs 7 i + n mod 251";

type Macs = [source: string, key: string, data: string, tag: string][];

const HMAC: Macs = [
	[
		"RFC 4231 section 4.2, test case 1",
		"0b".repeat(20),
		"4869205468657265",
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
	],
	[
		"RFC 4231 section 4.3, test case 2",
		"4a656665",
		"7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
	],
	[
		"RFC 4231 section 4.4, test case 3",
		"aa".repeat(20),
		"dd".repeat(50),
		"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
	],
	[
		"RFC 4231 section 4.6, test case 5 (128 bits)",
		"0c".repeat(20),
		"546573742057697468205472756e636174696f6e",
		"a3b6167473100ee06e0c796c2955552b",
	],
	[
		"RFC 4231 section 4.7, test case 6",
		"aa".repeat(131),
		"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
		"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
	],
];

const CMAC_KEY = "2b7e151628aed2a6abf7158809cf4f3c";
const CMAC_DATA =
	"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
const CMAC: Macs = [
	["RFC 4493 section 4, example 1", CMAC_KEY, "", "bb1d6929e95937287fa37d129b756746"],
	["RFC 4493 section 4, example 2", CMAC_KEY, CMAC_DATA.slice(0, 32), "070a16b46b4d4144f79bdd9dd04a287c"],
	["RFC 4493 section 4, example 3", CMAC_KEY, CMAC_DATA.slice(0, 80), "dfa66747de9ae63030ca32611497c827"],
	["RFC 4493 section 4, example 4", CMAC_KEY, CMAC_DATA, "51f0bebf7e3b9d92fc49741779363cfe"],
];

type Aeads = [
	source: string,
	key: string,
	nonce: string,
	aad: string,
	text: string,
	sealed: string,
	tagBytes: number,
][];

const GCM_KEY = "feffe9928665731c6d6a8f9467308308";
const GCM_TEXT =
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const GCM_SEALED =
	"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985";
const GCM_AAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM: Aeads = [
	[
		"McGrew and Viega, GCM, test case 1",
		"00".repeat(16),
		"00".repeat(12),
		"",
		"",
		"58e2fccefa7e3061367f1d57a4e7455a",
		16,
	],
	[
		"McGrew and Viega, GCM, test case 2",
		"00".repeat(16),
		"00".repeat(12),
		"",
		"00".repeat(16),
		"0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
		16,
	],
	[
		"McGrew and Viega, GCM, test case 3",
		GCM_KEY,
		"cafebabefacedbaddecaf888",
		"",
		GCM_TEXT,
		`${GCM_SEALED}4d5c2af327cd64a62cf35abd2ba6fab4`,
		16,
	],
	[
		"McGrew and Viega, GCM, test case 4",
		GCM_KEY,
		"cafebabefacedbaddecaf888",
		GCM_AAD,
		GCM_TEXT.slice(0, 120),
		`${GCM_SEALED.slice(0, 120)}5bc94fbc3221a5db94fae95ae7121a47`,
		16,
	],
	[
		"McGrew and Viega, GCM, test case 5 (nonce of 8 bytes)",
		GCM_KEY,
		"cafebabefacedbad",
		GCM_AAD,
		GCM_TEXT.slice(0, 120),
		"61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f45983612d2e79e3b0785561be14aaca2fccb",
		16,
	],
];

const CCM_KEY = "404142434445464748494a4b4c4d4e4f";
const ZIGBEE_KEY = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
const CCM: Aeads = [
	["SP 800-38C example 1", CCM_KEY, counted(0x10, 7), counted(0, 8), "20212223", "7162015b4dac255d", 4],
	[
		"SP 800-38C example 2",
		CCM_KEY,
		counted(0x10, 8),
		counted(0, 16),
		counted(0x20, 16),
		"d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd",
		6,
	],
	[
		"SP 800-38C example 3",
		CCM_KEY,
		counted(0x10, 12),
		counted(0, 20),
		counted(0x20, 24),
		"e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951",
		8,
	],
	[
		"RFC 3610 section 8, packet vector 1",
		ZIGBEE_KEY,
		"00000003020100a0a1a2a3a4a5",
		counted(0, 8),
		counted(8, 23),
		"588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0",
		8,
	],
	[
		"IEEE 802.15.4-2006 C.2.1, beacon frame, MIC-64",
		ZIGBEE_KEY,
		"acde4800000000010000000502",
		"08d0842143010000000048deac020500000055cf000051525354",
		"",
		"223bc1ec841ab553",
		8,
	],
	[
		"IEEE 802.15.4-2006 C.2.2, data frame, ENC (CCM*, no tag)",
		ZIGBEE_KEY,
		"acde4800000000010000000504",
		"69dc842143020000000048deac010000000048deac0405000000",
		"61626364",
		"d43e022b",
		0,
	],
	[
		"IEEE 802.15.4-2006 C.2.3, command frame, ENC-MIC-64",
		ZIGBEE_KEY,
		"acde4800000000010000000506",
		"2bdc842143020000000048deacffff010000000048deac060500000001",
		"ce",
		"d84fde529061f9c6f1",
		8,
	],
];

function macs(published: Macs): MacVector[] {
	return published.map(([name, key, data, tag]) => ({ name, key, data, tag, isValid: true }));
}

function aeads(published: Aeads): AeadVector[] {
	return published.map(([name, key, nonce, aad, text, sealed, tagBytes]) => ({
		name,
		key,
		nonce,
		aad,
		text,
		sealed,
		tagBytes,
		isValid: true,
	}));
}

function computedMacs(kind: "createHmac" | "createCmac", tagBytes: number): MacVector[] {
	const mac = new NodeCrypto()[kind]();
	return LENGTHS.map((byteLength) => {
		const key = pattern(16, byteLength);
		const data = pattern(byteLength, 5);
		const tag = new Uint8Array(tagBytes);
		mac.setKey(key, 0, key.length);
		mac.sign(data, 0, byteLength, tag, 0, tagBytes);
		return {
			name: `${OPENSSL}, ${byteLength} bytes`,
			key: toHex(key),
			data: toHex(data),
			tag: toHex(tag),
			isValid: true,
		};
	});
}

function computedAeads(mode: "createGcm" | "createCcm", shapes: readonly [number, number, number][]): AeadVector[] {
	const crypto = new NodeCrypto();
	return shapes.flatMap(([nonceBytes, tagBytes, aadBytes]) =>
		LENGTHS.map((byteLength) => {
			const aead = crypto[mode](nonceBytes, tagBytes);
			const key = pattern(16, byteLength + 3);
			const isOnce = mode === "createCcm" && tagBytes === 8;
			const nonce = isOnce ? ZERO_NONCE.slice(0, nonceBytes) : pattern(nonceBytes, 17);
			const aad = pattern(aadBytes, 29);
			const text = pattern(byteLength, 11);
			const sealed = new Uint8Array(byteLength + tagBytes);
			aead.setKey(key, 0);
			aead.seal(nonce, 0, aad, 0, aadBytes, text, 0, byteLength, sealed, 0);
			return {
				name: `${OPENSSL}, nonce ${nonceBytes}${isOnce ? " zeros" : ""}, tag ${tagBytes}, associated data ${aadBytes}, text ${byteLength} bytes`,
				key: toHex(key),
				nonce: toHex(nonce),
				aad: toHex(aad),
				text: toHex(text),
				sealed: toHex(sealed),
				tagBytes,
				isValid: true,
			};
		}),
	);
}

/** What core.json holds. */
export function generateCore(): CryptoVectors {
	const crypto = new NodeCrypto();
	const digestOf = (data: Uint8Array): string => {
		const digest = new Uint8Array(32);
		crypto.sha256(data, 0, data.length, digest, 0, 32);
		return toHex(digest);
	};
	return {
		sha256: [
			{
				name: "FIPS 180-4 example, abc",
				data: "616263",
				digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			},
			{
				name: "FIPS 180-4 example, 448 bits",
				data: "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e6c6d6e6f6d6e6f706e6f7071",
				digest: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
			},
			...LENGTHS.map((byteLength) => {
				const data = pattern(byteLength, 1);
				return { name: `${OPENSSL}, ${byteLength} bytes`, data: toHex(data), digest: digestOf(data) };
			}),
		],
		hmac: [...macs(HMAC), ...computedMacs("createHmac", 32)],
		cmac: [...macs(CMAC), ...computedMacs("createCmac", 16)],
		hkdf: [
			{
				name: "RFC 5869 A.1",
				salt: counted(0, 13),
				secret: "0b".repeat(22),
				info: counted(0xf0, 10),
				byteLength: 42,
				output: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
			},
			{
				name: "RFC 5869 A.2",
				salt: counted(0x60, 80),
				secret: counted(0, 80),
				info: counted(0xb0, 80),
				byteLength: 82,
				output:
					"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
			},
			{
				name: "RFC 5869 A.3 (no salt, no info)",
				salt: "",
				secret: "0b".repeat(22),
				info: "",
				byteLength: 42,
				output: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
			},
			{ name: "RFC 5869 section 2.3, more than 255 blocks", salt: "", secret: "0b", info: "", byteLength: 8161 },
		],
		kdf: ([16, 32] as const).flatMap((keyBytes) =>
			[0, 1, 8, 10, 22].map((contextBytes) => {
				const key = pattern(keyBytes, 40);
				const context = pattern(contextBytes, 50);
				const label = 0x61 + contextBytes;
				const message = new Uint8Array(33 + contextBytes);
				message.set(key);
				message[32] = label;
				message.set(context, 33);
				return {
					name: `SHA-256 by ${OPENSSL}, key ${keyBytes}, context ${contextBytes} bytes`,
					key: toHex(key),
					label,
					context: toHex(context),
					output: digestOf(message).slice(0, 2 * keyBytes),
				};
			}),
		),
		aes: [
			{
				name: "FIPS 197 C.1",
				key: counted(0, 16),
				text: "00112233445566778899aabbccddeeff",
				block: "69c4e0d86a7b0430d8cdb78070b4c55a",
			},
			{
				name: "FIPS 197 B",
				key: CMAC_KEY,
				text: "3243f6a8885a308d313198a2e0370734",
				block: "3925841d02dc09fbdc118597196a0b32",
			},
		],
		gcm: [
			...aeads(GCM),
			...computedAeads("createGcm", [
				[12, 16, 13],
				[12, 8, 0],
				[13, 12, 20],
			]),
		],
		ccm: [
			...aeads(CCM),
			...computedAeads("createCcm", [
				[13, 8, 18],
				[13, 4, 0],
				[12, 16, 13],
				[7, 10, 14],
				[13, 0, 0],
			]),
		],
		keyWrap: [
			{
				name: "RFC 3394 section 4.1",
				key: counted(0, 16),
				text: "00112233445566778899aabbccddeeff",
				wrapped: "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
				isValid: true,
			},
			...[24, 32, 64].map((byteLength) => {
				const wrap = crypto.createKeyWrap();
				const key = pattern(16, byteLength);
				const text = pattern(byteLength, 2);
				const wrapped = new Uint8Array(byteLength + 8);
				wrap.setKey(key, 0);
				wrap.wrap(text, 0, byteLength, wrapped, 0);
				return {
					name: `${OPENSSL}, ${byteLength} bytes`,
					key: toHex(key),
					text: toHex(text),
					wrapped: toHex(wrapped),
					isValid: true,
				};
			}),
		],
		drbg: [
			{
				name: "NIST CAVS 14.3, HMAC_DRBG SHA-256, no additional input",
				seed: "06032cd5eed33f39265f49ecb142c511da9aff2af71203bffaf34a9ca5bd9c0d0e66f71edc43e42a45ad3c6fc6cdc4df",
				reseed: "01920a4e669ed3a85ae8a33b35a74ad7fb2a6bb4cf395ce00334a9c9a5a5d552",
				additional: ["", ""],
				output:
					"76fc79fe9b50beccc991a11b5635783a83536add03c157fb30645e611c2898bb2b1bc215000209208cd506cb28da2a51bdb03826aaf2bd2335d576d519160842e7158ad0949d1a9ec3e66ea1b1a064b005de914eac2e9d4f2d72a8616a80225422918250ff66a41bd2f864a6a38cc5b6499dc43f7f2bd09e1e0f8f5885935124",
			},
			{
				name: "NIST CAVS 14.3, HMAC_DRBG SHA-256, additional input",
				seed: "1bea3296f24e9242b96ed00648ac6255007c91f7c1a5088b2482c28c834942bf71073136a5cc1eb5b5fa09e1790a0bed",
				reseed:
					"d714329f3fbea1df9d0b0b0d88dfe3774beb63d011935923d048e521b710dc6f4ef872fd211a426ea1085ab39eb220cc698fdfeabe49b8835d620ab7885de7a4",
				additional: [
					"d74d1669e89875852d9ccbf11c20fe3c13a621ebcb3f7edeea39a2b3379fdcf5",
					"0c8aa67ca310bd8e58c16aba35880f747266dbf624e88ec8f9ee9be5d08fdeb1",
				],
				output:
					"ce95b98f13adcdf7a32aa34709d6e02f658ae498d2ab01ce920f69e7e42c4be1d005acf0ca6b17891dfafc620dd4cd3894f8492a5c846089b9b452483eb0b91f3649ec0b6f98d1aaabc2e42cd39c2b25081b85ab50cb723007a0fd83550f32c210b7c4150b5a6bb3b0c9e3c971a09d43acb48e410a77f824b957092aa8ef98bc",
			},
		],
	};
}

export function loadCore(): CryptoVectors {
	return JSON.parse(readFileSync(CORE_FILE, "utf8")) as CryptoVectors;
}

/** SP 800-38C example 4: 65,536 bytes of associated data, kept out of the file. */
export function longAssociatedData(): AeadVector {
	return {
		name: "SP 800-38C example 4",
		key: CCM_KEY,
		nonce: counted(0x10, 13),
		aad: counted(0, 256).repeat(256),
		text: counted(0x20, 32),
		sealed: "69915dad1e84c6376a68c2967e4dab615ae0fd1faec44cc484828529463ccf72b4ac6bec93e8598e7f0dadbcea5b",
		tagBytes: 14,
		isValid: true,
	};
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const groups = Object.entries(generateCore()).map(
		([name, list]) =>
			`"${name}": [\n${(list as readonly unknown[]).map((vector) => JSON.stringify(vector)).join(",\n")}\n]`,
	);
	writeFileSync(CORE_FILE, `{\n${groups.join(",\n")}\n}\n`);
	process.stdout.write(`${CORE_FILE}: ${groups.length} groups\n`);
}
