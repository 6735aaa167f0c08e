// For what is there by construction, where the compiler can't see why.

/** @throws TypeError when it is not there after all: a fault of ours */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("a value that must be there is missing");
  return value;
}
