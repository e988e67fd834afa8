// Package lint holds the module to its own rules. It is a test and nothing
// else: `go test ./internal/lint` parses every Go file of the module, whatever
// its build tags, and reports
//
//   - imports that the graph below does not have, and the lower floor of slub
//     (layer, node, slab, slabfree, freelist, order) reaching for the upper one;
//   - cgo, assembly, go:linkname and unsafe outside the places made for them;
//   - a slub that links the Prometheus client;
//   - files that are too long, not as gofmt writes them, carry to-do markers,
//     or belong to a package without a comment;
//   - relative links of Markdown files that lead nowhere, and a program in
//     README.md that is not the example that the tests run.
//
// The import graph, "a < b" meaning that b may import a, bottom first:
//
//	nothing < internal/invariants, internal/mem, internal/sys
//	internal/sys, internal/mem < numa
//	internal/mem < hooks
//	internal/invariants, internal/mem, internal/sys < internal/percpu
//	internal/invariants, internal/mem, internal/percpu < rcu
//	internal/*, numa < arena
//	internal/mem, internal/percpu, internal/invariants, rcu < sheaves
//	arena, hooks, numa, rcu, sheaves, internal/* < slub
//	arena, numa, rcu, slub, Prometheus < metrics
//	everything < cmd, examples
//
// A rule is a function from a tree to findings, so each is also run on a small
// tree that breaks it: a rule that never bites is not a rule.
package lint
