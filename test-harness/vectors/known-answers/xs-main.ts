import { installFirmware } from "../../../hosts/xs/entry.js";
import { createSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { describeGroup, GROUP_COUNT, type KnownAnswers, runGroup } from "./suite.js";

const nothing = (): void => {};

/**
 * The known answers in place of the meter, for the hosts of hosts/xs: one group at each millisecond from power-on, because
 * an event may not take long there; one log line a group, and a last one that says how many failed.
 */
export function installKnownAnswers(answers: KnownAnswers): void {
	installFirmware((platform) => {
		const kernels = { TypeScript: createSampleKernel, host: platform.createSampleKernel.bind(platform) };
		let next = 0;
		let failureCount = 0;
		return {
			samples: nothing,
			samplesLost: nothing,
			inputChanged: nothing,
			tick: () => {
				const group = runGroup(next++, answers, { kernels });
				failureCount += group.failures.length;
				platform.log.line(describeGroup(group));
				if (next === GROUP_COUNT) platform.log.line(`${failureCount} failures`);
			},
			deadlineMilliseconds: () => (next < GROUP_COUNT ? next : Number.POSITIVE_INFINITY),
			linkOpened: nothing,
			linkReceived: nothing,
			linkWritable: nothing,
			opticalReceived: nothing,
			linkClosed: nothing,
		};
	}, createSampleKernel);
}
