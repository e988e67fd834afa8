// Package sampling keeps what is known of the allocations that a profile has sampled: where each
// was made, what it stands for, and whether it is still in use.
//
// # Place in the data flow
//
//	slub.Alloc (slow path, picked) -> [Table.Add] -> runtime.Callers
//	slab: a sampled object is freed -> [Table.Remove]
//	slub.ReadProfile               <- [Table.Sites]
//	slub: a debug cache keeps a call by its number -> [Table.Number], [Table.Numbered]
//
// A Table knows addresses, sizes and labels, and nothing of caches. It lies in Go memory, and is
// bounded: maxSites call stacks with their labels, behind which all share one, and maxLive samples
// in use, behind which no more are taken until some are freed.
//
// # Locks
//
//	shard.mu   one for the sites of a hash, one for the samples of an address; leaves
//
// Add and Remove allocate Go memory, and are called on slow paths with no lock of the caller's.
package sampling
