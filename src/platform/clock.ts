/** Two clocks, as a host gives them. */
export interface Clock {
	/** Milliseconds since power-on, fractions allowed; never goes back, does not count while off. For intervals. */
	monotonicMilliseconds(): number;
	/** Seconds since 2000-01-01T00:00:00Z, fractions allowed; may jump, NaN until set. From the board's real-time clock. */
	utcSeconds(): number;
	/** Sets the real-time clock. Without one the host keeps it until power-off. */
	setUtcSeconds(utcSeconds: number): void;
}
