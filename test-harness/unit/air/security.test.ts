import assert from "node:assert/strict";
import { test } from "node:test";
import {
	installCodeCheck,
	installCodeKey,
	KeyIdentifier,
	keyedHash,
	mmoHash,
	secure,
	securedOf,
	unsecure,
} from "../../air/security.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

test("AES-MMO, install codes and their CRC as the Zigbee specification has them", {
	skip: sharedData("zigbee").skip,
}, () => {
	const vectors = JSON.parse(readSharedFile("zigbee", "install_code_and_crc.json").toString()) as {
		aes128_mmo_hash: [string, string][];
		install_codes_with_crc16_x25_little_endian: string[];
	};
	for (const [input, hash] of vectors.aes128_mmo_hash)
		assert.equal(mmoHash(Buffer.from(input, "hex")).toString("hex").toUpperCase(), hash, input);
	for (const text of vectors.install_codes_with_crc16_x25_little_endian) {
		const code = Buffer.from(text, "hex");
		assert.deepEqual([...installCodeCheck(code.subarray(0, -2))], [...code.subarray(-2)], text);
		assert.ok(installCodeKey(code), `${text} has its CRC`);
		code[0]! ^= 1;
		assert.equal(installCodeKey(code), undefined, "a wrong digit is seen");
	}
});

test("the key-transport key of ZigBeeAlliance09", () => {
	// Zigbee specification: HMAC-MMO of the default link key with 0x00, as Wireshark derives it too.
	assert.equal(keyedHash(Buffer.from("ZigBeeAlliance09"), 0).toString("hex"), "4bab0f173e1434a2d572e1c1ef478782");
});

test("what is secured opens with the same key only, and any changed bit is seen", () => {
	const key = Buffer.alloc(16, 7);
	const header = Buffer.from("0802000034121e01", "hex");
	const how = { keyIdentifier: KeyIdentifier.network, frameCounter: 77, source: "00124b0001020304", keySequence: 2 };
	const frame = secure(header, Buffer.from("payload"), key, how);
	const found = securedOf(frame, 8)!;
	assert.deepEqual({ ...found, byteLength: 0 }, { ...how, byteLength: 0 });
	assert.equal(unsecure(frame, 8, key, found)?.toString(), "payload");
	assert.equal(unsecure(frame, 8, Buffer.alloc(16, 8), found), undefined);
	for (let at = 0; at < frame.length; at++) {
		const changed = Buffer.from(frame);
		changed[at]! ^= 0x40;
		const control = securedOf(changed, 8);
		assert.equal(control && unsecure(changed, 8, key, control), undefined, `byte ${at}`);
	}
});
