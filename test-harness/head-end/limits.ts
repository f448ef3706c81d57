/** Settings that bound what one meter, or all, may cost. */
export const LIMITS = Object.freeze({
	metersMax: 10_000,
	/** Rows or events asked for at once: 5 messages of rows. */
	profileRowsPerRequest: 100,
	eventsPerRequest: 240,
	/** Requests under way over all meters. */
	outstandingMax: 100,
	/** Requests a second over all meters, and how many may be saved up. */
	requestsPerSecond: 50,
	requestBurst: 100,
	answerSeconds: 30,
	askSeconds: 10,
	backOffFirstSeconds: 5,
	backOffMaxSeconds: 300,
	readingsKept: 1080,
	historyPoints: 360,
	conflictsKept: 200,
	clockCheckSeconds: 900,
	clockOffsetMaxSeconds: 3,
	housekeepingSeconds: 30,
});
