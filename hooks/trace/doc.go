// Package trace records the allocations of a program exactly, and reads the records. slubd-bench
// replays them on slubd and on other allocators (docs/benchmarks.md).
//
//	slubd --Hooks.Alloc, Free--> Recorder --chunks--> goroutine --gzip--> io.Writer
//	io.Reader --gzip--> Read --> Trace
//
// A Recorder notes each event under one lock, so a trace has one order of events: the order in
// which the goroutines got the lock. Of one object it is always right, since the Free hook runs
// before another goroutine can get the memory. It is a plain sequence: neither goroutines nor CPUs
// are noted. An object that FreeRCU was given is freed when its grace period is over.
//
// A trace is anonymous. It has sizes, the order of events and about when they were; neither
// addresses, nor contents, nor names of caches.
//
// # Nothing is lost but the trace
//
// The program goes on whatever happens to the recording. A hook never waits for the writer. The
// memory of a Recorder is bounded by its Config: when a bound is reached, or the writer returns an
// error, the recording ends there, and Close says why. What was written until then is exact.
//
// # Format
//
// A file is one gzip stream. It begins with the eight bytes "slubtrc1". Behind them are records,
// each an unsigned varint as encoding/binary has it, whose last two bits are its kind:
//
//	0  an object of (value >> 2) bytes is allocated
//	1  the object with the number (value >> 2) is freed
//	2  (value >> 2) units of 100 us have passed since the last record of this kind
//	3  the end; (value >> 2) is the reason, 0 if the recording was closed
//
// The end is followed by one more varint, the number of records of kinds 0 and 1, and by nothing
// else. Objects have numbers from 0. An object that is allocated takes the number that was freed
// last, or the least that was never used. So a record of kind 0 needs no number, and a reader needs
// a table as long as the most objects that were in use at a time. Sizes are those that the cache or
// Buckets give, that is the size class, not what the caller asked for.
//
// Lock order: Recorder.mu is the only lock. No function of the user's is called under it, and none
// of slubd's.
//
// Not allowed: the writer must not allocate from what is recorded.
package trace
