// koffi, set up for the libraries that we call. It can be set up only before its first library is loaded, hence here.
import koffi from "koffi";

/**
 * What a thread usually has. koffi gives a call on a thread 128 KiB, and libnftables 1.1 evaluates commands in frames so
 * large that it overflows them: the process dies of SIGSEGV without a word.
 */
const STACK = 8 * 1024 * 1024;

// A test runner that loads this module again finds koffi as the first time left it.
if (koffi.config().async_stack_size !== STACK) koffi.config({ sync_stack_size: STACK, async_stack_size: STACK });

export { koffi };
