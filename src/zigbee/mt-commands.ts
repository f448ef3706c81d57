/**
 * The subsystems and commands of TI's MT interface that firmware and virtual air use. A command is `subsystem << 8 |
 * cmd1`; type bits are added by the sender. Layouts stand where they are encoded.
 * @see TI "Z-Stack Monitor and Test API"; the application configuration subsystem is newer than the printed document,
 * its numbers are those of Z-Stack 3.x headers
 */
export const Mt = Object.freeze({
	rpcError: 0x0000,
	sysResetRequest: 0x0100,
	sysPing: 0x0101,
	sysVersion: 0x0102,
	sysSetExtendedAddress: 0x0103,
	sysGetExtendedAddress: 0x0104,
	sysNvItemInit: 0x0107,
	sysNvRead: 0x0108,
	sysNvWrite: 0x0109,
	sysNvDelete: 0x0112,
	sysNvLength: 0x0113,
	sysNvReadExtended: 0x011c,
	sysNvWriteExtended: 0x011d,
	sysTableCreate: 0x0130,
	sysTableDelete: 0x0131,
	sysTableLength: 0x0132,
	sysTableRead: 0x0133,
	sysTableWrite: 0x0134,
	sysResetIndication: 0x0180,
	afRegister: 0x0400,
	afDataRequest: 0x0401,
	afDataRequestExtended: 0x0402,
	afDataStore: 0x0411,
	afDataRetrieve: 0x0412,
	afDataConfirm: 0x0480,
	afIncomingMessage: 0x0481,
	afIncomingMessageExtended: 0x0482,
	zdoNwkAddressRequest: 0x0500,
	zdoIeeeAddressRequest: 0x0501,
	zdoNodeDescriptorRequest: 0x0502,
	zdoPowerDescriptorRequest: 0x0503,
	zdoSimpleDescriptorRequest: 0x0504,
	zdoActiveEndpointsRequest: 0x0505,
	zdoMatchDescriptorRequest: 0x0506,
	zdoBindRequest: 0x0521,
	zdoUnbindRequest: 0x0522,
	zdoManagementLqiRequest: 0x0531,
	zdoManagementRoutingRequest: 0x0532,
	zdoManagementBindRequest: 0x0533,
	zdoManagementLeaveRequest: 0x0534,
	zdoManagementPermitJoinRequest: 0x0536,
	zdoStartupFromApp: 0x0540,
	zdoExtRouteDiscovery: 0x0545,
	zdoExtRemoveGroup: 0x0547,
	zdoExtFindGroup: 0x054a,
	zdoExtAddGroup: 0x054b,
	zdoExtNetworkInformation: 0x0550,
	zdoStateChangeIndication: 0x05c0,
	zdoEndDeviceAnnounceIndication: 0x05c1,
	zdoLeaveIndication: 0x05c9,
	zdoTrustCenterDeviceIndication: 0x05ca,
	zdoPermitJoinIndication: 0x05cb,
	utilGetDeviceInformation: 0x0700,
	utilLedControl: 0x070a,
	utilAssociationCount: 0x0748,
	utilAssociationFindDevice: 0x0749,
	utilAssociationGetWithAddress: 0x074a,
	utilAssociationRemove: 0x0763,
	utilAssociationAdd: 0x0764,
	/** Trust centre: expects this install code from this address. */
	bdbAddInstallCode: 0x0f04,
	bdbStartCommissioning: 0x0f05,
	/** Joining device: joins with this install code. `bdbAddInstallCode` is compiled into coordinators only. */
	bdbSetActiveCentralizedKey: 0x0f07,
	bdbSetChannel: 0x0f08,
	/** Joining device that lost its parent: rejoin. */
	bdbRecoverNetwork: 0x0f0a,
	bdbCommissioningNotification: 0x0f80,
} as const);

/** Items of the co-processor's non-volatile memory. */
export const MtItem = Object.freeze({
	extendedAddress: 0x0001,
	startupOption: 0x0003,
	networkInformation: 0x0021,
	extendedPanId: 0x002d,
	activeKeyInformation: 0x003a,
	alternateKeyInformation: 0x003b,
	bdbNodeIsOnANetwork: 0x0055,
	hasConfigured: 0x0060,
	preconfiguredKey: 0x0062,
	networkKey: 0x0082,
	panId: 0x0083,
	channelList: 0x0084,
	logicalType: 0x0087,
	directCallback: 0x008f,
	/** Ours: the configuration that this firmware has written. In the range for applications, 0x0401 to 0x0FFF. */
	wattlock: 0x0d57,
} as const);

/** `STARTUP_OPTION`: forget configuration (bit 0) and network (bit 1) at the next reset. */
export const STARTUP_CLEAR_ALL = 3;

/** State of the co-processor's device object, in `zdoStateChangeIndication` and device information. */
export const DeviceState = Object.freeze({
	hold: 0,
	initialised: 1,
	discovering: 2,
	joining: 3,
	rejoining: 4,
	endDeviceUnauthenticated: 5,
	endDevice: 6,
	router: 7,
	coordinatorStarting: 8,
	coordinator: 9,
	orphan: 10,
} as const);

/** Addressing of `afDataRequestExtended` and `afIncomingMessageExtended`. */
export const AddressMode = Object.freeze({ bindings: 0, group: 1, short: 2, extended: 3, broadcast: 15 } as const);

/** Statuses of `afDataConfirm` and of responses. */
export const MtStatus = Object.freeze({
	success: 0,
	failure: 1,
	invalidParameter: 2,
	memoryError: 3,
	/** The item did not exist and was made. */
	itemCreated: 9,
	bufferFull: 0x11,
	unsupportedMode: 0x12,
	insufficientSpace: 0x1a,
	apsFail: 0xb1,
	apsNotAllowed: 0xba,
	noBoundDevice: 0xb8,
	apsNoAck: 0xb7,
	networkInvalidRequest: 0xc2,
	noRoute: 0xcd,
	channelAccessFailure: 0xe1,
	macNoAck: 0xe9,
	macNoResources: 0x1a,
	transactionExpired: 0xf0,
} as const);

export const Commissioning = Object.freeze({
	/** Mode bits of `bdbStartCommissioning`. */
	initialization: 0,
	steering: 2,
	formation: 4,
} as const);

/** Status of `bdbCommissioningNotification`. */
export const CommissioningStatus = Object.freeze({
	success: 0,
	inProgress: 1,
	noNetwork: 2,
	linkKeyExchangeFailure: 7,
	formationFailure: 8,
	networkRestored: 13,
	failure: 14,
} as const);

/** Key mode of `bdbSetActiveCentralizedKey`. */
export const CentralizedKey = Object.freeze({ defaultGlobal: 0, installCode: 1, installCodeWithFallback: 2 } as const);
