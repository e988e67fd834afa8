package lint

import (
	"slices"
	"strings"
	"testing"
)

// imp is the text of a package that imports the given paths.
func imp(name string, paths ...string) string {
	text := "// Package " + name + " is a sample.\npackage " + name + "\n"
	for _, p := range paths {
		text += "\nimport _ \"" + strings.Replace(p, "~", module, 1) + "\"\n"
	}
	return text
}

// TestRulesBite runs each rule on a tree that breaks it, beside files that do
// not. want lists what the rule must object to: that and nothing else.
func TestRulesBite(t *testing.T) {
	tried := map[string]bool{}
	for _, c := range []struct {
		rule  string
		files map[string]string
		want  []string
	}{
		{"import graph", map[string]string{
			"rcu/a.go":                imp("rcu", "~/internal/invariants", "time"),
			"rcu/up.go":               imp("rcu", "~/sheaves"),
			"rcu/a_test.go":           imp("rcu", "~/internal/testutil", "~/rcu"),
			"rcu/b_test.go":           imp("rcu_test", "~/slub"),
			"sheaves/testutil.go":     imp("sheaves", "~/internal/testutil"),
			"slub/c.go":               imp("slub", "github.com/prometheus/client_golang/prometheus"),
			"slub/slub_other.go":      "//go:build darwin\n\n" + imp("slub", "~/metrics"),
			"slub/ignored.go":         "//go:build ignore\n\n" + imp("slub", "~/cmd/slubd-bench"),
			"slub/root.go":            imp("slub", "~/sheavesque"),
			"slub/internal/slab/s.go": imp("slab", "~/arena", "~/sheaves"),
			"sheaves/a_test.go":       imp("sheaves", "~/internal/sys", "~/internal/testutil"),
			"numa/m.go":               imp("numa", "golang.org/x/sys/unix", "github.com/klauspost/cpuid/v2"),
			"numa/near.go":            imp("numa", "golang.org/x/system"),
			"metrics/m.go":            imp("metrics", "github.com/prometheus/client_golang/prometheus", "~/slub"),
			"metrics/percpu.go":       imp("metrics", "~/internal/percpu"),
			"cmd/slubd-bench/m.go":    imp("main", "~/metrics", "~/internal/percpu", "example.com/table"),
			"examples/daemon/m.go":    imp("main", "~/slub", "~/metrics"),
			"cache/c.go":              imp("cache"),
			"internal/testutil/t.go":  imp("testutil", "~/internal/sys"),
		}, []string{
			"cache/c.go", "internal/testutil/t.go", "metrics/percpu.go", "numa/near.go", "rcu/b_test.go", "rcu/up.go",
			"sheaves/testutil.go", "slub/c.go", "slub/ignored.go", "slub/internal/slab/s.go", "slub/root.go", "slub/slub_other.go",
		}},
		{"cgo placement", map[string]string{
			"internal/sys/rseq.go":                   imp("sys", "C"),
			"cmd/slubd-bench/internal/native/n.go":   imp("native", "C"),
			"cmd/slubd-bench/internal/native/loop.c": "int f;\n",
			"cmd/slubd-bench/main.go":                imp("main", "C"),
			"internal/percpu/p_test.go":              imp("percpu", "C"),
			"internal/percpu/p.h":                    "#define F\n",
			"sheaves/p.h":                            "int f;\n",
			"internal/sys/deeper/d.go":               imp("deeper", "C"),
		}, []string{"cmd/slubd-bench/main.go", "internal/percpu/p_test.go", "internal/sys/deeper/d.go", "sheaves/p.h"}},
		{"asm placement", map[string]string{
			"internal/percpu/rseq_linux_amd64.s": "\n", "slub/fast_amd64.s": "\n",
		}, []string{"slub/fast_amd64.s"}},
		{"linkname placement", map[string]string{
			"internal/percpu/pin.go": "package percpu\n\n//go:linkname procPin runtime.procPin\nfunc procPin() int\n",
			"internal/percpu/id.go":  "package percpu\n\n//go:linkname procID runtime.procID\nfunc procID() int\n",
			"slub/prose.go":          "package slub\n\n// Pinning needs go:linkname.\nvar _ = `\n//go:linkname in a string\n`\n",
		}, []string{"internal/percpu/id.go"}},
		{"unsafe placement", map[string]string{
			"metrics/m.go":                           imp("metrics", "unsafe"),
			"metrics/m_test.go":                      imp("metrics", "unsafe"),
			"numa/topology.go":                       imp("numa", "unsafe"),
			"numa/topology_test.go":                  imp("numa", "unsafe"),
			"cmd/slubd-bench/main.go":                imp("main", "unsafe"),
			"cmd/slubd-bench/internal/loops/pair.go": imp("loops", "unsafe"),
			"cmd/slubd-bench/internal/native/n.go":   imp("native", "unsafe"),
			"cmd/slubd-bench/internal/workload/w.go": imp("workload", "unsafe"),
			"slub/alloc.go":                          imp("slub", "unsafe"),
		}, []string{
			"cmd/slubd-bench/internal/workload/w.go", "cmd/slubd-bench/main.go",
			"metrics/m.go", "metrics/m_test.go", "numa/topology.go",
		}},
		{"system calls", map[string]string{
			"internal/sys/m_linux.go":    "package sys\n\nfunc reserve() { unix.Syscall6(unix.SYS_MMAP, 0, 1, 2, 3, 4, 0) }\n",
			"internal/sys/good_linux.go": "package sys\n\n// SYS_MMAP\nfunc discard() { unix.Syscall(unix.SYS_MADVISE, 0, 1, 2) }\n",
			"slub/f_linux_amd64_test.go": "package slub\n\nfunc fork() { syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0) }\n",
			"slub/g_linux_test.go":       "package slub\n\nfunc fork() { syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0) }\n",
		}, []string{"internal/sys/m_linux.go", "slub/g_linux_test.go"}},
		{"file length", map[string]string{
			"slub/full.go":         imp("slub") + strings.Repeat("\n", maxLines-2),
			"slub/over.go":         imp("slub") + strings.Repeat("\n", maxLines-1),
			"slub/full_test.go":    imp("slub") + strings.Repeat("\n", maxTestLines-2),
			"slub/over_test.go":    imp("slub") + strings.Repeat("\n", maxTestLines-1),
			"internal/percpu/r.s":  strings.Repeat("\n", maxLines+1),
			"slub/testdata/big.go": strings.Repeat("\n", maxLines+1),
			"docs/long.md":         strings.Repeat("\n", maxLines+1),
		}, []string{"internal/percpu/r.s", "slub/over.go", "slub/over_test.go"}},
		{"gofmt", map[string]string{
			"slub/good.go": "package slub\n\nvar a = 1\n", "slub/bad.go": "package slub\n\nvar  a = 1\n",
		}, []string{"slub/bad.go"}},
		{"markers", map[string]string{
			"slub/a.go":      "package slub\n\n// TODO: more.\nvar a = \"FIXME\"\n",
			"slub/b_test.go": "package slub\n\nvar b = 1 // FIXME\n",
			"slub/c.go":      "package slub\n\n// Methodology and HACKING.\nvar c = \"mktemp.XXXXXX\"\n",
			"Makefile":       "all: # XXX\n",
			".ci/run":        "#!/bin/bash\n# HACK\n",
			".git/hook":      "# TODO\n",
			"docs/plan.md":   "TODO is a word here\n",
		}, []string{".ci/run", "Makefile", "slub/a.go", "slub/b_test.go"}},
		{"package comments", map[string]string{
			"numa/a.go":            "package numa\n",
			"numa/doc.go":          imp("numa"),
			"rcu/rcu.go":           "// Copyright\n\npackage rcu\n",
			"hooks/hooks.go":       "// Hooks are calls.\npackage hooks\n",
			"slub/slub.go":         "package slub\n",
			"slub/slub_test.go":    imp("slub"),
			"internal/x/x_test.go": "package x\n",
			"cmd/a/main.go":        "package main\n",
			"cmd/b/main.go":        "// B measures.\npackage main\n",
		}, []string{"cmd/a", "hooks", "rcu", "slub"}},
	} {
		tried[c.rule] = true
		t.Run(c.rule, func(t *testing.T) {
			var got []string
			for _, finding := range rules[c.rule](fake(t, c.files)) {
				where, _, _ := strings.Cut(finding, ":")
				got = append(got, where)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("objects to\n\t%q, should to\n\t%q", got, c.want)
			}
		})
	}
	for rule := range rules {
		if !tried[rule] {
			t.Errorf("rule %q has not been shown to bite", rule)
		}
	}
}

func TestCycleIsFound(t *testing.T) {
	f := acyclic(map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})
	if len(f) != 1 {
		t.Errorf("found %v", f)
	}
}
