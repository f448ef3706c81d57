import { testRules } from "./explore.js";

testRules([
	{ model: "tesla", claim: "safe", broken: ["NOCHECK"] },
	{ model: "clock", claim: "safe", broken: ["BACK", "BOOT", "NORTT"] },
	{ model: "broadcast", claim: "safe", broken: ["ANSWER", "FORGET"] },
	{ model: "broadcast", claim: "once", broken: ["ANSWER", "FORGET"], kept: ["NOREFUSE"] },
]);
