/**
 * Labels of the one-compression KDF for what everyone hears, as ASCII (HORA section 2). `S` and `X` are the senders' own:
 * a meter knows neither. One label has one key type and one context length, so inputs never collide.
 * | label | from             | context                                    | gives                             | bytes |
 * |-------|------------------|--------------------------------------------|-----------------------------------|------:|
 * | `T`   | T_i              | domain 2, chain 1, epoch 2, i 2            | T_(i-1)                           |    16 |
 * | `a`   | T_i              | the same                                   | MAC key of interval i-1           |    16 |
 * | `A`   | MAC key          | first 20 bytes of SHA-256(message)         | MAC                               |    10 |
 * | `f`   | flash value      | slot 4, scope 1, chain 1, position 1       | next flash value                  |    16 |
 * | `q`   | x_end ‖ y_end    | slot 4, scope 1, epoch 2, first 2, last 2  | commit                            |    16 |
 * | `y`   | T_0              | epoch 2                                    | leaf of the calendar              |    16 |
 * | `z`   | left ‖ right     | height 1, index 2                          | node of the calendar              |    16 |
 * | `S`   | seed of a sender | domain 2, chain 1, epoch 2                 | T_N of the day                    |    16 |
 * | `X`   | the head end's   | slot 4, scope 1, chain 1                   | first value of a flash slot       |    16 |
 */
export const Label = Object.freeze({
	previousKey: 0x54, // T
	macKey: 0x61, // a
	mac: 0x41, // A
	flashStep: 0x66, // f
	flashCommit: 0x71, // q
	calendarLeaf: 0x79, // y
	calendarNode: 0x7a, // z
	daySeed: 0x53, // S
	flashSeed: 0x58, // X
} as const);
