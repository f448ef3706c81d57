import { checkRange } from "./crypto.js";

/** Whether two byte ranges are equal: every byte is looked at, whatever the others were. */
export function equalBytes(
	a: Uint8Array,
	aOffset: number,
	b: Uint8Array,
	bOffset: number,
	byteLength: number,
): boolean {
	checkRange(a, aOffset, byteLength);
	checkRange(b, bOffset, byteLength);
	let difference = 0;
	for (let i = 0; i < byteLength; i++) difference |= a[aOffset + i]! ^ b[bOffset + i]!;
	return difference === 0;
}
