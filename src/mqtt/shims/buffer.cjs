"use strict";

// XS has both natively; elsewhere the loops below do.
const fromString = (text) => {
	if (ArrayBuffer.fromString !== undefined) return new Uint8Array(ArrayBuffer.fromString(text));
	const bytes = [];
	for (const character of text) {
		let code = character.codePointAt(0);
		if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
		if (code < 0x80) bytes.push(code);
		else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
		else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
		else
			bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
	}
	return bytes;
};

/** The bytes are well-formed: `packet-check.ts` has looked at every text. */
const decodeUtf8 = (bytes, start, end) => {
	if (String.fromArrayBuffer !== undefined) {
		const from = bytes.byteOffset + start;
		return String.fromArrayBuffer(bytes.buffer.slice(from, bytes.byteOffset + end));
	}
	let text = "";
	for (let i = start; i < end; ) {
		const first = bytes[i++];
		if (first < 0x80) text += String.fromCharCode(first);
		else {
			const follow = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
			let code = first & (0x3f >> follow);
			for (let j = 0; j < follow; j++) code = (code << 6) | (bytes[i++] & 0x3f);
			text += String.fromCodePoint(code & 0x1fffff);
		}
	}
	return text;
};

const byteLength = (value) => {
	if (typeof value !== "string") return value.byteLength;
	let count = 0;
	for (let i = 0; i < value.length; i++) {
		const code = value.charCodeAt(i);
		if (code < 0x80) count += 1;
		else if (code < 0x800) count += 2;
		else if (code > 0xffff)
			count += 4; // XS counts a string's code points
		else if (code >= 0xd800 && code <= 0xdbff && (value.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
			count += 4;
			i++;
		} else count += 3;
	}
	return count;
};

class Buffer extends Uint8Array {
	static alloc(size) {
		return new Buffer(size);
	}
	static allocUnsafe(size) {
		return new Buffer(size);
	}
	static from(value) {
		const source = typeof value === "string" ? fromString(value) : value;
		const buffer = new Buffer(source.length);
		buffer.set(source);
		return buffer;
	}
	static isBuffer(value) {
		return value instanceof Buffer;
	}
	static byteLength(value) {
		return byteLength(value);
	}
	writeUInt8(value, offset) {
		this[offset] = value;
	}
	writeUInt32BE(value, offset) {
		this[offset] = value >>> 24;
		this[offset + 1] = value >>> 16;
		this[offset + 2] = value >>> 8;
		this[offset + 3] = value;
	}
	slice(start, end) {
		return this.subarray(start, end);
	}
	copy(target, offset) {
		target.set(this, offset);
		return this.length;
	}
	write(text, offset) {
		const bytes = fromString(text);
		this.set(bytes, offset);
		return bytes.length;
	}
	toString(_encoding, start = 0, end = this.length) {
		return decodeUtf8(this, start, end);
	}
}

module.exports = { Buffer, decodeUtf8 };
