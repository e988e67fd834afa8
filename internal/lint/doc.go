// Package lint holds the module to its own rules. It is a test and nothing
// else: `go test ./internal/lint` parses every Go file of the module, whatever
// its build tags, and reports
//
//   - imports that the graph below does not have;
//   - cgo, assembly, go:linkname and unsafe outside the places made for them;
//   - a slub that links the Prometheus client;
//   - files that are too long, not as gofmt writes them, carry to-do markers,
//     or belong to a package without a comment;
//   - comments, messages and documents that use banned turns of speech, or lines of more than 100
//     columns;
//   - sentences that are turned round, and comments of fields that are relative clauses alone;
//   - locks that docs/reference/locking.md doesn't list, and comments on locks in another order;
//   - relative links of Markdown files that lead nowhere, Go in them that doesn't compile, and a
//     program in README.md that is not the example that the tests run.
//
// The import graph, "a < b" meaning that b may import a, bottom first:
//
//	nothing < internal/{callback, configerr, cpulist, invariants, lazytimer, mem, names, owner,
//	     text}
//	internal/mem < internal/lock, internal/sys
//	internal/{configerr, cpulist, mem, sys} < numa
//	internal/callback, numa < hooks < hooks/trace
//	internal/{cpulist, invariants, mem, owner, sys} < internal/percpu
//	internal/invariants, internal/mem, internal/percpu, internal/text < rcu
//	internal/*, numa < arena
//	rcu, internal/lock < internal/backlog
//	rcu, internal/{backlog, callback, configerr, invariants, lazytimer, lock, mem, owner, percpu,
//	     sys, text} < sheaves
//	arena, internal/{callback, invariants, lock, mem, owner, percpu, sys, text} <
//	     slub/internal/slab
//	rcu, internal/{backlog, callback, invariants, lazytimer, lock, mem, percpu} <
//	     slub/internal/freequeue
//	arena, internal/{mem, percpu, sys} < slub/internal/guard
//	internal/mem < slub/internal/debug
//	arena, hooks, numa, rcu, sheaves, slub/internal/{debug, freequeue, guard, slab},
//	     internal/* < slub
//	arena, hooks, rcu, slub < slub/rcumap
//	arena, numa, rcu, slub, Prometheus < metrics
//	everything < cmd, examples
//
// A rule is a function from a tree to findings, so each is also run on a small
// tree that breaks it: a rule that never bites is not a rule.
package lint
