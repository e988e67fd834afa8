// Package workload says what slubd-bench measures: the catalogue of workloads, the Spec that one
// run follows, and the random sequences that every implementation's loop draws alike.
//
// It measures nothing. Package loops runs a Spec in Go, package native in C; package runner
// decides what runs when.
package workload
