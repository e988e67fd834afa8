// Package metrics shows caches, their arenas and their RCU domains to
// Prometheus.
//
//	slub.Caches -> Stats of each cache, its arena, its domain -> families -> scrape
//
// Mount Handler, or register NewCollector with a registry of your own; neither
// touches the default registry. All names begin with slubd_:
//
//	slubd_cache_<kernel stat file>_total   one counter family per stat of SLUB
//	slubd_cache_…, slubd_barn_sheaves      objects, slabs and sheaves by state
//	slubd_arena_…                          memory by node and class
//	slubd_buckets_large_…                  objects of Malloc that are of no cache
//	slubd_groups, slubd_group_…            what tenants are charged for
//	slubd_rcu_…                            grace periods, backlog, readers
//	slubd_mode_info, slubd_build_info      what is running
//	slubd_topology_difference_info         where sysfs and the processor disagree
//
// The series of a family with a state or class label are disjoint and add up
// to a whole. A cache has 48 series and 8 more per NUMA node; nothing
// depends on the number of CPUs or objects. Size classes of slub.Malloc and of
// Buckets are shown once they have had a slab: all 67 on one node are 3752 series.
// The large objects of Buckets have 7 series in all, once there was one.
// A group has 9 series with a limit, and the first 100 groups are shown.
// Config.Caches can leave out more. Counters of a cache vanish when it
// is closed and start at zero with a new cache of that name, which rate()
// takes for the restart that it is.
//
// Lock order: the package has no lock. A scrape reads one snapshot per cache,
// takes the locks of its barns and nodes for a moment each, which no fast path
// does, and holds none while it sends. Values
// of one snapshot are read one after the other while the cache works, so sums
// across states are exact only at rest.
//
// Not allowed: unsafe, and being imported by the library. Only programs link
// this package, so that slub's users don't inherit the Prometheus client.
package metrics
