/** Codes of the event log that the application makes itself. */
export const EventCode = Object.freeze({
	powerDown: 1,
	powerUp: 2,
	clockSet: 5,
	registersLost: 30,
	terminalCoverOpened: 40,
	terminalCoverClosed: 41,
	coverOpened: 44,
	coverClosed: 45,
} as const);
export type EventCode = (typeof EventCode)[keyof typeof EventCode];
