// Package workload says what slubd-bench measures: the catalogue of workloads,
// the Spec that one run follows, and the random sequences that every
// allocator's loop draws alike.
//
// It measures nothing itself. Package loops runs a Spec in Go, package native
// in C, package heap the workloads about whole heaps; package runner decides
// who runs when.
package workload
