import answers from "known-answers";
import { NativeKernel } from "../../../hosts/simulator/cli/native-kernel.js";
import { traceStatistics } from "../../../hosts/simulator/cli/natives.js";
import { TypeScriptSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { describeGroup, runKnownAnswers } from "./suite.js";

/** The known answers on the SDK's engine, in place of the meter. @returns exit code */
export default function main(): number {
	traceStatistics();
	const failureCount = runKnownAnswers(
		answers,
		{
			kernels: {
				TypeScript: (layout) => new TypeScriptSampleKernel(layout),
				C: (layout) => new NativeKernel(layout),
			},
		},
		(group) => {
			trace(`${describeGroup(group)}\n`);
		},
	);
	traceStatistics();
	return failureCount === 0 ? 0 : 1;
}
