/** Diagnostics for people; never secrets. The host may drop lines. */
export interface Log {
	line(text: string): void;
}
