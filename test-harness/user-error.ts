/** Something the user can mend: printed as one line, exit code 2, no stack. */
export class UserError extends Error {
	override name = "UserError";
}
