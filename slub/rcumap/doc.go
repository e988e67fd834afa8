// Package rcumap is a hash map from strings to bytes whose entries and table lie outside the Go
// heap. A lookup takes no lock and writes nothing; a writer locks one of 256 stripes. The garbage
// collector never looks at the map, however many entries it has.
//
// Use it for millions of entries that are read often. A small map, or one whose values are Go
// pointers, is better served by a Go map or sync.Map.
//
// # Data flow
//
//	Put, Update      -> slub.Buckets (entry) -> list, under the stripe's lock; old one -> FreeRCU
//	Get, Lookup      -> table -> list -> the caller, until its read-side section ends
//	Append           -> Get, in a section of its own -> a copy
//	Delete, DeleteIf -> list, under the stripe's lock -> FreeRCU
//	Edit             -> an entry's word, under the stripe's lock
//	Scan, Sweep      -> list, from a cursor on; what Sweep deletes -> FreeRCU
//	grow             -> slub.Buckets (zeroed slots) -> table; a few slots at a time -> list
//
// Keys are any bytes. Put, Get, Append and Delete take strings. Update, Lookup and DeleteIf take
// bytes, as a server has them in its buffers, and show entries as Items. Update decides under a
// lock what becomes of a key, which is how counters and "only if absent" are made.
//
// # The list and the table
//
// All entries are in one linked list, sorted by the reversed bits of their hashes
// (split-ordered lists, Shalev and Shavit, JACM 2006). The table's slots are nodes of the same
// list: slot b stands before the entries whose hashes end in the bits of b. The table doubles by
// adding slots in between. No entry ever moves, so a reader never finds two tables, nor an entry
// in two places:
//
//	slots 4 to 7 are new:   0 ── e e ── 4 ── e ── 2 ── e ── 6 ── e e ── 1 ── e ── 5 ...
//
// A slot that is still zero is not in the list yet. Until a writer links it, its entries are
// found through its parent: the slot that it splits from, whose number lacks the highest bit.
//
// Relativistic hash tables (Triplett, McKenney, Walpole, USENIX ATC 2011) zip and unzip chains
// between two tables, with grace periods in between, and the kernel's rhashtable moves entries one
// by one, for which readers look into both tables. Both shrink, too. Split order needs no grace
// period to grow and no second look, and it gives every key one place for good, which is what a
// cursor needs: Scan goes on behind a key, whatever has happened since. The price is a second kind
// of node, and longer chains while a new level is being linked. liburcu's rculfhash chose the same.
//
// The hash is seeded for each Map (hash/maphash), so that keys which collide can't be chosen from
// outside.
//
// # Order of stores
//
// A node is written before the atomic store that links it. Afterwards only its next changes, and
// an entry's Word, of which the map makes no use.
// Readers load next atomically, so every node that they reach is complete. A node that was taken
// out keeps its next until its grace period is over. All nodes behind it were in the list after
// the reader's section began, so they are as safe to follow as the node itself.
//
// # Locks
//
// stripe.mu, of which no goroutine holds two. Map.growth is only tried, never waited for, and no
// other lock is held then. Under stripe.mu nothing is allocated, freed or waited for.
//
// # Not allowed
//
//   - To write to a key or value of an entry that is in the map, or to use it after the section.
//   - To call Get, Lookup, Scan or Range outside a section of the map's Domain. Builds with -tags
//     invariants or -race panic. Others don't notice it, except that a use of an entry that was
//     guarded, and is free, ends the process: see Config.GuardRate.
//   - To call any method while Close runs, or after it.
//   - To copy a Map.
package rcumap
