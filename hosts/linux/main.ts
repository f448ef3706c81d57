import { startMeter } from "../../src/meter/meter.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import { installFirmware } from "../xs/entry.js";

installFirmware(startMeter, createSampleKernel);
