"use strict";
const { decodeUtf8 } = require("./buffer.cjs");

/**
 * The part of `bl` that the parser uses. The machine gives it one whole packet at a time and it is consumed at once,
 * so the bytes are looked at where they lie; only a second `append` before that copies.
 */
class BufferList {
	constructor() {
		this._bytes = undefined;
		this._from = 0;
		this.length = 0;
	}
	append(bytes) {
		if (this.length === 0) {
			this._bytes = bytes;
			this._from = 0;
			this.length = bytes.length;
			return;
		}
		const joined = new Uint8Array(this.length + bytes.length);
		joined.set(this._bytes.subarray(this._from, this._from + this.length));
		joined.set(bytes, this.length);
		this._bytes = joined;
		this._from = 0;
		this.length = joined.length;
	}
	consume(count) {
		const taken = Math.min(count, this.length);
		this._from += taken;
		this.length -= taken;
		if (this.length === 0) this._bytes = undefined;
	}
	_at(offset, size) {
		if (offset + size > this.length) throw new RangeError("past the end");
		return this._from + offset;
	}
	readUInt8(offset) {
		return this._bytes[this._at(offset, 1)];
	}
	readUInt16BE(offset) {
		const at = this._at(offset, 2);
		return (this._bytes[at] << 8) | this._bytes[at + 1];
	}
	readUInt32BE(offset) {
		const at = this._at(offset, 4);
		const bytes = this._bytes;
		return bytes[at] * 0x1000000 + ((bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]);
	}
	slice(start, end) {
		if (this._bytes === undefined) return new Uint8Array(0);
		const last = Math.min(end, this.length);
		return this._bytes.subarray(this._from + start, this._from + last);
	}
	toString(_encoding, start, end) {
		if (start === end) return "";
		return decodeUtf8(this._bytes, this._from + start, this._from + end);
	}
}

module.exports = () => new BufferList();
