import { BootLoader } from "../../src/firmware-update/boot.js";
import { FirmwareTarget } from "../../src/messages/firmware-update.js";
import { startMeter } from "../../src/meter/meter.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import { installFirmware } from "../xs/entry.js";

installFirmware(
	startMeter,
	createSampleKernel,
	(flash, crypto, canStart) => new BootLoader(flash, crypto, { target: FirmwareTarget.linuxXs, canStart }),
);
