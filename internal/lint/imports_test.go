package lint

import (
	"slices"
	"strings"
)

// graph is design.md's import graph: what a package's code may import of this
// module. Under cmd and examples everything is allowed.
var graph = map[string][]string{
	"internal/invariants": {},
	"internal/mistakes":   {},
	"internal/mem":        {},
	"internal/lock":       {"internal/mem"},
	"internal/sys":        {},
	"internal/testutil":   {},
	"internal/text":       {},
	"internal/lint":       {},
	"numa":                {"internal/sys", "internal/mem"},
	"rcu":                 {"internal/invariants", "internal/mem", "internal/percpu", "internal/text"},
	"hooks":               {},
	"internal/percpu":     {"internal/invariants", "internal/mem", "internal/sys"},
	"arena":               {"internal/invariants", "internal/mem", "internal/percpu", "internal/sys", "internal/text", "numa"},
	"sheaves":             {"internal/invariants", "internal/lock", "internal/mem", "internal/percpu", "internal/text", "rcu"},
	"slub": {
		"internal/invariants", "internal/lock", "internal/mem", "internal/percpu", "internal/sys", "internal/text",
		"arena", "hooks", "numa", "rcu", "sheaves",
	},
	"metrics": {"arena", "numa", "rcu", "slub"},
}

// foreign lists the module paths that a package of the library may import,
// besides the standard library. Under cmd and examples everything is allowed.
var foreign = map[string][]string{
	"internal/sys":      {"golang.org/x/sys"},
	"internal/percpu":   {"golang.org/x/sys", "github.com/klauspost/cpuid/v2"},
	"internal/testutil": {"golang.org/x/sys"},
	"numa":              {"golang.org/x/sys", "github.com/klauspost/cpuid/v2"},
	"metrics":           {"github.com/prometheus"},
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
		allowed := own
		if s.isTest() {
			allowed = append(reachable(s.dir()), s.dir(), "internal/testutil")
		}
		for _, p := range s.imports() {
			ours, isOurs := strings.CutPrefix(p, module+"/")
			switch {
			case isOurs && !slices.Contains(allowed, ours):
				f.add(s, "imports %s: %s may import %v", ours, s.dir(), allowed)
			case !isOurs && isForeign(p) && !slices.ContainsFunc(foreign[s.dir()], func(m string) bool { return under(p, m) }):
				f.add(s, "imports %s: of other modules, %s may import %v", p, s.dir(), foreign[s.dir()])
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

// lowerFloor are the files of slub that know slabs and page runs and nothing
// of what is built on them; platform twins (slab_race.go) count with their
// stem.
var lowerFloor = []string{
	"layer", "node", "slab", "slabfree", "slabnowait", "slabshrink", "slabvalidate", "walk", "freelist", "order", "owner",
}

// upperOnly is what the lower floor may not import.
var upperOnly = []string{"sheaves", "rcu", "hooks"}

// twoFloors keeps slub's lower floor from importing what belongs to the upper.
func twoFloors(t tree) (f findings) {
	for _, s := range t {
		stem, _, _ := strings.Cut(strings.TrimSuffix(s.base(), ".go"), "_")
		if s.dir() != "slub" || !s.isGo() || s.isTest() || !slices.Contains(lowerFloor, stem) {
			continue
		}
		for _, p := range s.imports() {
			if ours, isOurs := strings.CutPrefix(p, module+"/"); isOurs && slices.Contains(upperOnly, ours) {
				f.add(s, "imports %s, but lies on the lower floor", ours)
			}
		}
	}
	return f
}

// lowerFloorExists reports the files of the lower floor that are missing where
// there is a slub: after a renaming, twoFloors would otherwise watch nothing.
func lowerFloorExists(t tree) (f findings) {
	if !slices.Contains(t.dirs(), "slub") {
		return nil
	}
	for _, stem := range lowerFloor {
		name := "slub/" + stem + ".go"
		if !slices.ContainsFunc(t, func(s *source) bool { return s.name == name }) {
			f = append(f, name+": a file of the lower floor is missing")
		}
	}
	return f
}

// lowerFloorListed keeps the list in slub's package comment the same as lowerFloor.
func lowerFloorListed(t tree) (f findings) {
	for _, s := range t {
		if s.name != "slub/doc.go" {
			continue
		}
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(s.text), "//", " ")), " ")
		_, after, _ := strings.Cut(text, "The lower one (")
		list, _, _ := strings.Cut(after, ")")
		listed, want := strings.Split(list, ", "), slices.Clone(lowerFloor)
		slices.Sort(listed)
		slices.Sort(want)
		if !slices.Equal(listed, want) {
			f.add(s, "lists %v as the lower floor, which is %v", listed, want)
		}
	}
	return f
}

// acyclic reports a package of graph that reaches itself: the table must stay
// a bottom-up order that somebody can build in.
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
