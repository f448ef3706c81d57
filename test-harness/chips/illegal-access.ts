/** The driver did what the datasheet does not allow: always a bug of the driver. */
export class IllegalAccess extends Error {
	override name = "IllegalAccess";
}
