/**
 * UTF-8 as MQTT wants it. XS has neither TextEncoder nor TextDecoder; its own `ArrayBuffer.fromString` is used where
 * it exists, since a character at a time costs about 2,000 instructions there.
 */

interface FromString {
	fromString?: (text: string) => ArrayBuffer;
}

/**
 * Writes `text` as UTF-8. A lone surrogate becomes U+FFFD.
 * @param limit bytes of `into` that may be used, counted from its start
 * @returns the offset after the last byte, or -1 when it does not fit (then `into` holds a part of it)
 */
export function encodeUtf8(text: string, into: Uint8Array, offset: number, limit: number): number {
	const native = (ArrayBuffer as FromString).fromString;
	if (native !== undefined) {
		const bytes = new Uint8Array(native.call(ArrayBuffer, text));
		if (offset + bytes.length > limit) return -1;
		into.set(bytes, offset);
		return offset + bytes.length;
	}
	for (let i = 0; i < text.length; i++) {
		let code = text.charCodeAt(i);
		if (code >= 0xd800 && code <= 0xdfff) {
			const low = code <= 0xdbff && i + 1 < text.length ? text.charCodeAt(i + 1) : 0;
			if (low >= 0xdc00 && low <= 0xdfff) {
				code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
				i++;
			} else code = 0xfffd;
		}
		const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
		if (offset + size > limit) return -1;
		if (size === 1) into[offset++] = code;
		else {
			into[offset++] = (size === 2 ? 0xc0 : size === 3 ? 0xe0 : 0xf0) | (code >> (6 * (size - 1)));
			for (let shift = 6 * (size - 2); shift >= 0; shift -= 6) into[offset++] = 0x80 | ((code >> shift) & 0x3f);
		}
	}
	return offset;
}

/**
 * Whether the bytes are well-formed UTF-8 without surrogates and without control characters (U+0000 to U+001F, U+007F
 * to U+009F), as MQTT allows a receiver to ask, and, for a topic name, without wildcards.
 * @see MQTT 5.0 section 1.5.4, 3.3.2.1; MQTT 3.1.1 section 1.5.3
 */
export function isMqttText(bytes: Uint8Array, from: number, end: number, isTopicName: boolean): boolean {
	for (let i = from; i < end; ) {
		const first = bytes[i]!;
		if (first < 0x80) {
			if (first < 0x20 || first === 0x7f) return false;
			if (isTopicName && (first === 0x23 || first === 0x2b)) return false; // '#', '+'
			i++;
			continue;
		}
		const follow = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 ? 3 : 0;
		if (follow === 0 || first > 0xf4 || i + follow >= end) return false;
		const second = bytes[i + 1]!;
		for (let j = 1; j <= follow; j++) if ((bytes[i + j]! & 0xc0) !== 0x80) return false;
		if (first === 0xc2 && second < 0xa0) return false; // U+0080 to U+009F
		if (first === 0xe0 && second < 0xa0) return false; // overlong
		if (first === 0xed && second >= 0xa0) return false; // surrogates
		if (first === 0xef && second === 0xbf && bytes[i + 2]! >= 0xbe) return false; // U+FFFE, U+FFFF
		if (first === 0xf0 && second < 0x90) return false; // overlong
		if (first === 0xf4 && second >= 0x90) return false; // beyond U+10FFFF
		i += follow + 1;
	}
	return true;
}
