package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differences names what two runs did not have in common, and may be why their figures differ.
func differences(old, now Env) (list []string) {
	differ := func(what, a, b string) {
		if a != b {
			list = append(list, fmt.Sprintf("%s: %s then, %s now", what, orNone(a), orNone(b)))
		}
	}
	differ("CPU", old.CPU, now.CPU)
	differ("architecture", old.OS+"/"+old.Arch, now.OS+"/"+now.Arch)
	differ("CPUs", fmt.Sprint(old.CPUs), fmt.Sprint(now.CPUs))
	differ("GOMAXPROCS", fmt.Sprint(old.GOMAXPROCS), fmt.Sprint(now.GOMAXPROCS))
	differ("NUMA nodes", fmt.Sprint(old.Nodes), fmt.Sprint(now.Nodes))
	differ("kernel", old.Kernel, now.Kernel)
	differ("Go", old.Go, now.Go)
	differ("GOAMD64", old.GOAMD64, now.GOAMD64)
	differ("C compiler", old.CCompiler, now.CCompiler)
	differ("engine", old.Engine, now.Engine)
	differ("cgo", fmt.Sprint(old.Cgo), fmt.Sprint(now.Cgo))
	differ("race detector", fmt.Sprint(old.Race), fmt.Sprint(now.Race))
	differ("huge pages", old.HugePages, now.HugePages)
	differ("frequency governor", old.Governor, now.Governor)
	differ("pinned to", old.Pin.where(), now.Pin.where())
	differ("-benchtime", old.BenchTime, now.BenchTime)
	differ("-count", fmt.Sprint(old.Count), fmt.Sprint(now.Count))
	differ("-seed", fmt.Sprint(old.Seed), fmt.Sprint(now.Seed))
	for _, name := range keys(old.Flags, now.Flags) {
		switch name {
		case "benchtime", "count", "seed", "pin": // they were compared already
		default:
			if len(old.Flags) > 0 && len(now.Flags) > 0 {
				differ("-"+name, old.Flags[name], now.Flags[name])
			}
		}
	}
	for _, name := range keys(old.Environ, now.Environ) {
		differ("$"+name, old.Environ[name], now.Environ[name])
	}
	for _, e := range []struct {
		when string
		Env
	}{{"old", old}, {"new", now}} {
		if load, _, _ := strings.Cut(e.Load, " "); busy(load, e.CPUs) {
			list = append(list, fmt.Sprintf("the machine was busy before the %s run: load %s on %s", e.when, load, count(e.CPUs, "CPU")))
		}
	}
	return list
}

// versionsDiffer names the native implementations that are not those of before.
func versionsDiffer(old, now map[string]string) (list []string) {
	for _, name := range keys(old, now) {
		a, b := old[name], now[name]
		if a != "" && b != "" && a != b { // a row that is missing is said elsewhere
			list = append(list, fmt.Sprintf("%s: %s then, %s now", name, a, b))
		}
	}
	return list
}

// keys returns the keys of both maps, sorted.
func keys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// where names the CPUs that threads were pinned to.
func (p *Pin) where() string {
	if p == nil {
		return ""
	}
	return joined(p.CPUs)
}
