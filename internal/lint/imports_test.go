package lint

import (
	"slices"
	"strings"
)

// graph is the import graph: what a package's code may import of this
// module. Under cmd and examples everything is allowed.
var graph = map[string][]string{
	"internal/callback":   {},
	"internal/configerr":  {},
	"internal/invariants": {},
	"internal/mistakes":   {},
	"internal/moves":      {},
	"internal/cpulist":    {},
	"internal/mem":        {},
	"internal/names":      {},
	"internal/frames":     {},
	"internal/lock":       {"internal/mem"},
	"internal/owner":      {},
	"internal/sys":        {"internal/mem"},
	"internal/testutil":   {"internal/cpulist"},
	"internal/text":       {},
	"internal/nodemem":    {"internal/mem", "internal/sys", "numa"},
	"internal/lint":       {},
	"numa":                {"internal/configerr", "internal/cpulist", "internal/mem", "internal/sys"},
	"rcu":                 {"internal/invariants", "internal/loghist", "internal/mem", "internal/percpu", "internal/text"},
	"hooks":               {"internal/callback", "numa"},
	"hooks/trace":         {"hooks"},
	"internal/percpu":     {"internal/cpulist", "internal/invariants", "internal/mem", "internal/owner", "internal/sys"},
	"arena": {
		"internal/callback", "internal/configerr", "internal/invariants", "internal/lazytimer", "internal/lock", "internal/loghist", "internal/mem", "internal/names", "internal/nodemem", "internal/owner", "internal/sys",
		"internal/text", "numa",
	},
	"internal/lazytimer": {},
	"internal/loghist":   {},
	"internal/backlog":   {"internal/lock", "rcu"},
	"sheaves":            {"internal/backlog", "internal/callback", "internal/configerr", "internal/invariants", "internal/lazytimer", "internal/lock", "internal/mem", "internal/nodemem", "internal/owner", "internal/percpu", "internal/sys", "internal/text", "rcu"},
	"slub/internal/freequeue": {
		"internal/backlog", "internal/callback", "internal/invariants", "internal/lazytimer", "internal/lock", "internal/mem",
		"internal/percpu", "rcu",
	},
	"slub": {
		"internal/backlog", "internal/callback", "internal/configerr", "internal/frames", "internal/invariants", "internal/lazytimer",
		"internal/lock", "internal/mem", "internal/names", "internal/owner",
		"internal/percpu", "internal/sys", "internal/text",
		"arena", "hooks", "numa", "rcu", "sheaves", "slub/internal/debug", "slub/internal/failslab", "slub/internal/freequeue", "slub/internal/guard", "slub/internal/sampling", "slub/internal/slab",
	},
	"slub/internal/failslab": {},
	"slub/internal/debug":    {"internal/mem"},
	"slub/internal/guard":    {"internal/frames", "internal/mem", "internal/percpu", "internal/sys", "arena"},
	"slub/internal/sampling": {},
	"slub/profile":           {"internal/frames", "slub"},
	"slub/slubtest":          {"internal/frames", "slub", "slub/internal/failslab", "slub/internal/sampling"},
	"slub/debugpage":         {"internal/frames", "arena", "rcu", "slub"},
	"slub/internal/slab": {
		"internal/callback", "internal/invariants", "internal/lock", "internal/mem", "internal/nodemem", "internal/owner",
		"internal/percpu", "internal/sys", "internal/text", "arena",
	},
	"slub/rcumap": {"arena", "hooks", "rcu", "slub"},
	"metrics":     {"arena", "internal/loghist", "numa", "rcu", "slub", "slub/debugpage", "slub/profile"},
}

// foreign lists the module paths that a package of the library may import,
// besides the standard library. Under cmd and examples everything is allowed.
var foreign = map[string][]string{
	"internal/sys":      {"golang.org/x/sys"},
	"internal/percpu":   {"golang.org/x/sys", "github.com/klauspost/cpuid/v2"},
	"internal/testutil": {"golang.org/x/sys"},
	"numa":              {"golang.org/x/sys", "github.com/klauspost/cpuid/v2"},
	"metrics":           {"github.com/prometheus"},
	"slub/profile":      {"github.com/google/pprof"},
}

// foreignInTests lists what only the tests of a package may import of other modules.
var foreignInTests = map[string][]string{
	"slub/rcumap": {"github.com/anishathalye/porcupine"},
}

// isProgram reports whether dir may use everything and be used by nothing.
func isProgram(dir string) bool {
	return under(dir, "cmd") || under(dir, "examples")
}

// under reports whether path p is top or lies below it.
func under(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

// importGraph holds the files of every package, whatever their build tags, to
// graph and foreign. Tests may import what their package may reach, directly
// or not, the package itself, and internal/testutil.
func importGraph(t tree) (f findings) {
	for _, s := range t {
		if !s.isGo() || isProgram(s.dir()) {
			continue
		}
		own, known := graph[s.dir()]
		if !known {
			f.add(s, "package %s has no place in the import graph", s.dir())
			continue
		}
		allowed, others := own, foreign[s.dir()]
		if s.isTest() {
			allowed = append(reachable(s.dir()), s.dir(), "internal/testutil")
			others = slices.Concat(others, foreignInTests[s.dir()])
		}
		for _, p := range s.imports() {
			ours, isOurs := strings.CutPrefix(p, module+"/")
			switch {
			case isOurs && !slices.Contains(allowed, ours):
				f.add(s, "imports %s: %s may import %v", ours, s.dir(), allowed)
			case !isOurs && isForeign(p) && !slices.ContainsFunc(others, func(m string) bool { return under(p, m) }):
				f.add(s, "imports %s: of other modules, %s may import %v", p, s.dir(), others)
			}
		}
	}
	return f
}

// isForeign reports whether a path belongs to a module other than the standard
// library, whose first elements have no dot.
func isForeign(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}

// reachable lists the packages that dir imports, directly or through others.
func reachable(dir string) []string {
	var all []string
	for _, d := range graph[dir] {
		all = append(append(all, d), reachable(d)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// acyclic reports a package of graph that reaches itself: the table must stay
// an order in which the packages can be built.
func acyclic(graph map[string][]string) (f findings) {
	state := map[string]int{} // 1: on the path from the start, 2: done
	var visit func(string)
	visit = func(dir string) {
		switch state[dir] {
		case 1:
			f = append(f, dir+": is part of an import cycle")
		case 0:
			state[dir] = 1
			for _, d := range graph[dir] {
				visit(d)
			}
			state[dir] = 2
		}
	}
	for dir := range graph {
		visit(dir)
	}
	return f
}

// linksClient reports the packages of the Prometheus client in deps, the
// import paths that a program using slub would link.
func linksClient(deps []string) (f findings) {
	for _, d := range deps {
		if under(d, "github.com/prometheus") {
			f = append(f, "slub: links "+d)
		}
	}
	return f
}
