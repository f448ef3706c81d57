/**
 * What the bundles of mutation testing take for node:test: one process, one test after the other, the end at the first
 * failure. A mutant that is found out costs milliseconds.
 */
interface Context {
	readonly test: typeof test;
	readonly after: typeof after;
}
type Body = (context: Context) => unknown;
interface Named {
	readonly name: string;
	readonly body: Body;
}

const tests: Named[] = [];
const first: Body[] = [];
const last: Body[] = [];

export function test(name: string, options: Body | { readonly skip?: unknown }, body?: Body): void {
	const run = typeof options === "function" ? options : body;
	// Names are how Stryker knows tests apart.
	if (run && !(typeof options === "object" && options.skip)) tests.push({ name: `${tests.length} ${name}`, body: run });
}

export function describe(_name: string, options: (() => void) | { readonly skip?: unknown }, body?: () => void): void {
	const run = typeof options === "function" ? options : body;
	if (run && !(typeof options === "object" && options.skip)) run();
}

export function before(body: Body): void {
	first.push(body);
}

export function after(body: Body): void {
	last.push(body);
}

export interface RunOptions {
	/** Names; all without it. */
	readonly only?: ReadonlySet<string>;
	begin?(name: string): void;
	end?(name: string, milliseconds: number): void;
}

/**
 * @param except names of tests that take too long for what they find beyond the others
 * @returns the first failure
 */
export async function runAll(
	except: RegExp,
	{ only, begin, end }: RunOptions,
): Promise<{ name: string; message: string } | undefined> {
	console.log = () => {};
	const context = { test, after };
	for (const body of first) await body(context);
	for (const { name, body } of tests) {
		if (except.test(name) || (only !== undefined && !only.has(name))) continue;
		const start = performance.now();
		begin?.(name);
		try {
			await body(context);
		} catch (error) {
			return { name, message: error instanceof Error ? error.message : String(error) };
		}
		end?.(name, performance.now() - start);
	}
	return undefined;
}
