/**
 * Labels of a tree in the one-compression KDF (HORA section 2), as ASCII.
 * | label | from         | context       | gives             | bytes |
 * |-------|--------------|---------------|-------------------|------:|
 * | `t`   | K_v or L     | –             | ticked key        |    16 |
 * | `k`   | K_v or L     | –             | KEK               |    16 |
 * | `p`   | KEK          | g 4, node 4   | pad               |    16 |
 * | `F`   | r            | –             | r one level up    |    16 |
 * | `x`   | K_v ‖ r_v    | –             | patched K_v       |    16 |
 * | `g`   | K_root       | –             | GK_g              |    16 |
 * | `s`   | GK_g         | H20(body)     | confirmation tag  |     8 |
 * | `D`   | GK_g         | sender 1, ctr 2 | group message key |   16 |
 */
export const TreeLabel = Object.freeze({
	tick: 0x74,
	kek: 0x6b,
	pad: 0x70,
	up: 0x46,
	mix: 0x78,
	groupKey: 0x67,
	confirm: 0x73,
	message: 0x44,
} as const);
