/**
 * Labels of the one-compression KDF, as ASCII. One label has one key type and one context length, so inputs never
 * collide. Large letters of the host's device key are additions of this room; all others are HORA's (section 2).
 * | label | from           | context       | gives                                 | bytes |
 * |-------|----------------|---------------|---------------------------------------|------:|
 * | `E` `N` | MK           | id 8, gen 2   | root of an odometer                   |    32 |
 * | `n` `d` | odometer value | –           | next sibling / first child            |    32 |
 * | `u` `w` | V_e          | –             | first chain key of a day, up / down   |    16 |
 * | `l`   | V_e            | tree 1        | leaf key of a tree for the day        |    16 |
 * | `c` `m` | chain key    | –             | next chain key / message key          |    16 |
 * | `i`   | secret s       | epoch 2, DC 4 | V_e of the day of an ATTACH           |    32 |
 * | `b`   | odometer value | s 16, DC 4    | the value of the day after an ATTACH  |    32 |
 * | `J` `K` | device key   | –             | journal: key of its MAC / its cipher  |    16 |
 */
export const Label = Object.freeze({
	rootEndToEnd: 0x45, // E
	rootNeighbourhood: 0x4e, // N
	nextSibling: 0x6e, // n
	firstChild: 0x64, // d
	chainUp: 0x75, // u
	chainDown: 0x77, // w
	leaf: 0x6c, // l
	nextChainKey: 0x63, // c
	messageKey: 0x6d, // m
	attachedDay: 0x69, // i
	attachedNext: 0x62, // b
	journalMac: 0x4a, // J
	journalCipher: 0x4b, // K
} as const);
