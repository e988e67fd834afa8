// Package lint holds the module to its own rules. It is a test and nothing
// else: `go test ./internal/lint` parses every Go file of the module, whatever
// its build tags, and reports
//
//   - imports that the graph below does not have, and the lower floor of slub
//     (see lowerFloor) reaching for the upper one, or not as its comment lists it;
//   - cgo, assembly, go:linkname and unsafe outside the places made for them;
//   - a slub that links the Prometheus client;
//   - files that are too long, not as gofmt writes them, carry to-do markers,
//     or belong to a package without a comment;
//   - relative links of Markdown files that lead nowhere, and a program in
//     README.md that is not the example that the tests run.
//
// The import graph, "a < b" meaning that b may import a, bottom first:
//
//	nothing < hooks, internal/invariants, internal/mem, internal/sys, internal/text
//	internal/mem < internal/lock
//	internal/sys, internal/mem < numa
//	internal/invariants, internal/mem, internal/sys < internal/percpu
//	internal/invariants, internal/mem, internal/percpu, internal/text < rcu
//	internal/*, numa < arena
//	internal/lock, internal/mem, internal/percpu, internal/invariants, internal/text, rcu < sheaves
//	arena, hooks, numa, rcu, sheaves, internal/* < slub
//	arena, numa, rcu, slub, Prometheus < metrics
//	everything < cmd, examples
//
// A rule is a function from a tree to findings, so each is also run on a small
// tree that breaks it: a rule that never bites is not a rule.
package lint
