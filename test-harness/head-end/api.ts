/**
 * What the HTTP interface answers; the page is written against these types. Times are UTCTime (seconds since
 * 2000-01-01T00:00:00Z), null when not known; quantities carry their unit in the name; null is "not available".
 */
export interface RangeView {
	first: number;
	next: number;
}

export type OnlineState = "online" | "silent" | "offline" | "unknown";
export type Health = "good" | "attention" | "bad" | "unknown";

export interface PhaseView {
	voltageMillivolts: number;
	currentMilliamperes: number;
	powerMilliwatts: number;
	reactivePowerMillivars: number;
	apparentPowerMillivoltAmperes: number;
	powerFactorPermille: number | null;
	thdVoltagePermille: number;
	thdCurrentPermille: number;
	phaseAngleTenthsDegree: number | null;
}

export interface ReadingView {
	bootCount: number;
	readingIndex: number;
	utcSeconds: number | null;
	receivedUtcSeconds: number;
	flags: string[];
	frequencyMillihertz: number | null;
	neutralCurrentMilliamperes: number;
	tariff: number;
	powerMilliwatts: number;
	reactivePowerMillivars: number;
	powerFactorPermille: number | null;
	phases: PhaseView[];
	activeEnergyImport: number;
	activeEnergyExport: number;
	reactiveEnergyImport: number;
	reactiveEnergyExport: number;
}

export interface HelloView {
	receivedUtcSeconds: number;
	bootCount: number;
	bootReason: string;
	phaseCount: number;
	netting: "perPhase" | "vectorSum";
	intervalSeconds: number;
	firmware: string;
	parameterCounter: number;
	profileOldest: number;
	profileNext: number;
	eventOldest: number;
	eventNext: number;
}

export interface SeriesView {
	series: number;
	firstSequence: number;
	utcSeconds: number;
	reason: string;
}

/** One log of a meter, load profile or events. */
export interface LogView {
	series: number;
	starts: SeriesView[];
	first: number | null;
	next: number;
	contiguousNext: number;
	stored: number;
	missing: RangeView[];
	missingCount: number;
	gone: RangeView[];
	goneCount: number;
	duplicates: number;
	conflicts: number;
	conflictSequences: number[];
	/** The meter contradicts what is stored and is being asked. */
	checkingSeries: boolean;
	outstanding: number;
}

export interface MonotoneView {
	profile: number;
	readings: number;
	/** Registers lower after a restart of the meter than before it. */
	readingsAfterRestart: number;
}

export interface EventView {
	series: number;
	sequence: number;
	utcSeconds: number | null;
	receivedUtcSeconds: number;
	code: number;
	name: string | null;
	detail: number;
}

/** A line of the fleet table. */
export interface MeterSummaryView {
	id: string;
	enrolledUtcSeconds: number;
	state: OnlineState;
	health: Health;
	healthReasons: string[];
	lastSeenUtcSeconds: number | null;
	clockOffsetSeconds: number | null;
	reading: ReadingView | null;
	/** Power of the last readings, mW, oldest first, for a sparkline. */
	powerHistoryMilliwatts: number[];
	readings: number;
	profileMissing: number;
	profileGone: number;
	eventsMissing: number;
	events: number;
	lastEvent: EventView | null;
	conflicts: number;
	monotoneViolations: number;
	series: number;
}

/** One command at one meter. */
export interface CommandView {
	/** 16 hexadecimal digits: number of the head end's log, row. */
	id: string;
	meter: string;
	kind: number;
	name: string;
	way: "headEnd" | "headEndBroadcast" | "headEndFlash" | "optical";
	operator: string;
	createdSeconds: number;
	notAfterSeconds: number;
	state: "created" | "sent" | "executed" | "failed" | "refused" | "expired" | "interrupted" | "unknown";
	sentCount: number;
	sentSeconds: number;
	receiptSeconds: number;
	status: number;
	/** Empty while there is no receipt. */
	statusName: string;
	endedSeconds: number;
	detail: number;
	/** Row of the meter's log that ended it. */
	rowSequence: number;
}

/** A meter's log, held against its chain and the heads that it stated; and the head end's own. */
export interface AuditView {
	verdict: {
		status: "ok" | "truncated" | "rewritten" | "gap";
		sequence: number;
		text: string;
		findings: readonly { status: string; sequence: number; text: string }[];
		rowCount: number;
		firstSequence: number;
		lastSequence: number;
		anchoredSequence: number;
		missing: readonly { first: number; count: number }[];
	};
	/** Newest first. */
	rows: readonly {
		sequence: number;
		utcSeconds: number;
		code: number;
		name: string;
		text: string;
		detail: number;
		commandId?: string;
		chain?: string;
		anchored: boolean;
	}[];
	own: { status: "ok" | "truncated" | "rewritten" | "missing"; sequence: number; text: string };
}

export type AttackKind = "replay" | "tamper" | "forge" | "stale" | "foreign";

/** An attack that was run against a meter through the broker, and the meter's own word on it. */
export interface AttackView {
	kind: AttackKind;
	meter: string;
	utcSeconds: number;
	sent: { what: string; byteLength: number; hex: string }[];
	/** The meter's counters of refusals by status, asked for over the secured channel. */
	refusalsBefore: Record<string, number>;
	refusalsAfter: Record<string, number>;
	/** What came to them. */
	refused: Record<string, number>;
	relayOpen: boolean | null;
	/** Every message of the attack was refused, and the relay is as it was. */
	held: boolean;
	why: string;
}

/** The secured channel of one meter, as the servers see it. Refusals are counted by the name of their status. */
export interface SecurityView {
	/** Of the sessions: whether messages of the meter were opened since the head end started. */
	state: "open" | "waiting" | "never heard" | "decommissioned";
	domain: number;
	shortAddress: number;
	newestGeneration: number;
	/** Of the keys that the meter is known to have; 0: of none yet. */
	confirmedGeneration: number;
	/** Days since 2000-01-01, by the head end's clock. */
	today: number;
	endToEnd: {
		generation: number;
		epoch: number | null;
		downNext: number;
		acknowledged: number;
		upNext: number;
		kept: number;
		resent: number;
		held: number;
		accepted: number;
		lastAcceptedUtcSeconds: number | null;
	} | null;
	/** By the head end. */
	refusals: Record<string, number>;
	anchorEpoch: number | null;
	anchorUtcSeconds: number | null;
	/** The neighbourhood branch, as the concentrator told it last. */
	concentrator: {
		epoch: number;
		downNext: number;
		acknowledged: number;
		upNext: number;
		/** Count of key records that the meter was seen with. */
		witnessedHead: number;
		refusals: Record<string, number>;
	} | null;
}

export interface MeterView extends MeterSummaryView {
	/** Null where messages are not secured. */
	security: SecurityView | null;
	hello: HelloView | null;
	profile: LogView;
	eventLog: LogView;
	monotone: MonotoneView;
	refusals: Record<string, number>;
	duplicateReadings: number;
	outstanding: { kind: string; sentUtcSeconds: number; attempt: number }[];
	lastSnapshot: SnapshotView | null;
	lastDiagnostics: DiagnosticsView | null;
}

export interface ProfileRowView {
	series: number;
	sequence: number;
	intervalStartSeconds: number;
	durationSeconds: number;
	status: number;
	statusNames: string[];
	tariff: number;
	activeEnergyImport: number;
	activeEnergyExport: number;
	reactiveEnergyImport: number;
	reactiveEnergyExport: number;
	/** Register differences to the row before, null when that row is not here. */
	activeEnergyImportIncrement: number | null;
	activeEnergyExportIncrement: number | null;
	receivedUtcSeconds: number;
}

export interface ProfileView {
	intervalSeconds: number | null;
	rows: ProfileRowView[];
	conflicts: ProfileRowView[];
	missing: RangeView[];
	gone: RangeView[];
}

export interface CaptureChannelView {
	name: string;
	unit: "V" | "A";
	/** In volts or amperes. */
	values: number[];
}

export interface CaptureView {
	utcSeconds: number | null;
	rowsPerSecond: number;
	channels: CaptureChannelView[];
}

export interface RegisterView {
	obis: string;
	name: string | null;
	unit: string;
	/** In thousandths of the unit: mWh, mvarh, mVAh, mW. */
	value: number;
}

export interface SnapshotView {
	utcSeconds: number | null;
	registers: RegisterView[];
}

export interface DiagnosticsView {
	receivedUtcSeconds: number;
	entries: { key: number; name: string; value: number }[];
}

/** The secured channel of all meters together. */
export interface FleetSecurityView {
	/** In the registry, decommissioned ones left out. */
	meters: number;
	/** Heard since the head end started. */
	open: number;
	today: number;
	anchorEpoch: number | null;
	/** Keys of the head end's chain disclosed since the start. */
	disclosed: number;
	kept: number;
	/** By the head end. */
	refusals: Record<string, number>;
	/** By state. */
	commands: Record<string, number>;
	records: number;
	syncs: number;
}

export interface StatusView {
	utcSeconds: number;
	broker: { url: string; connected: boolean; sinceUtcSeconds: number; connects: number; lastError: string | null };
	store: { path: string; working: boolean; error: string | null };
	totals: {
		meters: number;
		online: number;
		powerMilliwatts: number | null;
		powerImportMilliwatts: number | null;
		powerExportMilliwatts: number | null;
		activeEnergyImport: number;
		activeEnergyExport: number;
		profileRows: number;
		events: number;
		missing: number;
	};
	messages: { received: number; stored: number; sent: number; duplicates: number; notEnrolled: number };
	/** Null where messages are not secured. */
	security: FleetSecurityView | null;
	requests: { outstanding: number; waiting: number };
	refusals: Record<string, number>;
}

/** Sum over the meters at one moment; null where no meter had a reading. */
export interface PowerPointView {
	utcSeconds: number;
	importMilliwatts: number | null;
	exportMilliwatts: number | null;
	meters: number;
}

export type LiveMessage =
	| { type: "status"; status: StatusView }
	| { type: "fleet"; meters: MeterSummaryView[] }
	| { type: "meters"; meters: MeterSummaryView[] }
	| { type: "readings"; id: string; readings: ReadingView[] }
	| { type: "profile"; id: string }
	| { type: "events"; id: string };
