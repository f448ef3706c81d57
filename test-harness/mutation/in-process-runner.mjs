import { join } from "node:path";
import { pathToFileURL } from "node:url";

/*
 * A test runner of Stryker (its plug-in interface): the bundle is loaded once, and each mutant runs the tests that touch
 * it, in this process. Stryker starts another when one does not come back.
 */
const ROOM = process.env.MUTATION_ROOM;

class InProcessRunner {
	/** Where instrumented code looks for the mutant that is on. */
	state = (globalThis.__stryker__ ??= {});

	capabilities() {
		return { reloadEnvironment: true };
	}

	/** Constants of a module are made when it is loaded: for their mutants it is loaded again. */
	async load(query) {
		const url = pathToFileURL(join(process.cwd(), "build", "mutation", `${ROOM}.mjs`)).href;
		return await import(url + query);
	}

	async dryRun() {
		this.bundle = await this.load("");
		const tests = [];
		const failure = await this.bundle.run({
			begin: (name) => {
				this.state.currentTestId = name;
			},
			end: (name, timeSpentMs) => {
				tests.push({ id: name, name, status: 0, timeSpentMs });
				this.state.currentTestId = undefined;
			},
		});
		if (failure)
			tests.push({ id: failure.name, name: failure.name, status: 1, timeSpentMs: 0, failureMessage: failure.message });
		return { status: "complete", tests, mutantCoverage: this.state.mutantCoverage };
	}

	async mutantRun({ activeMutant, testFilter, hitLimit, mutantActivation }) {
		this.bundle ??= await this.load("");
		this.state.hitCount = 0;
		this.state.hitLimit = hitLimit;
		this.state.activeMutant = activeMutant.id;
		let failure;
		let nrOfTests = 0;
		try {
			const bundle = mutantActivation === "static" ? await this.load(`?${activeMutant.id}`) : this.bundle;
			const only = testFilter ? new Set(testFilter) : undefined;
			failure = await bundle.run({ only, end: () => nrOfTests++ });
		} catch (error) {
			failure = { name: "all", message: String(error) };
		}
		this.state.activeMutant = undefined;
		if (hitLimit !== undefined && this.state.hitCount > hitLimit) return { status: "timeout", reason: "hit limit" };
		if (!failure) return { status: "survived", nrOfTests };
		return { status: "killed", killedBy: [failure.name], failureMessage: failure.message, nrOfTests: nrOfTests + 1 };
	}
}

export const strykerPlugins = [{ kind: "TestRunner", name: "in-process", injectableClass: InProcessRunner }];
