/** Random bytes from the host's true source, never a seeded generator outside simulations. */
export interface Entropy {
	fill(into: Uint8Array): void;
}
