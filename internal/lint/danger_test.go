package lint

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

var (
	// cgoHomes may use import "C" and hold C sources: the system calls and
	// rseq's thread-local area, and the bench's native baseline, with what that
	// compiles when it runs.
	cgoHomes = []string{"internal/sys", "cmd/slubd-bench/internal/native", "cmd/slubd-bench/internal/native/rcu",
		"slub/testdata/guards", "slub/testdata/images"}
	// asmHomes may hold Go assembly: the sequences, and the bench's reading of the
	// time-stamp counter, with headers of macros. They cannot be cgo packages: there the
	// go command gives .s files to the C compiler.
	asmHomes = []string{"internal/percpu", "cmd/slubd-bench/internal/tail"}
	// linknameFile may pull functions out of the runtime.
	linknameFile = "internal/percpu/pin.go"
	// safe are packages whose code has no business with unsafe: they work on
	// snapshots, text and numbers.
	safe = []string{"metrics", "numa", "rcu", "hooks", "cmd", "examples", "internal/invariants", "internal/owner", "internal/testutil"}
)

// handlesObjects are the exceptions to safe: what is measured there are
// objects, and slub's API hands them out as unsafe.Pointer.
var handlesObjects = []string{
	"cmd/slubd-bench/internal/native", "cmd/slubd-bench/internal/loops",
}

// cgoPlacement keeps cgo and C sources in cgoHomes.
func cgoPlacement(t tree) (f findings) {
	for _, s := range t {
		if slices.Contains(cgoHomes, s.dir()) {
			continue
		}
		if slices.Contains(s.imports(), "C") {
			f.add(s, `imports "C", which only %v may`, cgoHomes)
		}
		ext := path.Ext(s.name)
		if ext == ".h" && slices.Contains(asmHomes, s.dir()) {
			continue
		}
		if slices.Contains([]string{".c", ".h", ".cc", ".cpp", ".S"}, ext) {
			f.add(s, "is a C source, which only %v may hold", cgoHomes)
		}
	}
	return f
}

// asmPlacement keeps assembly in asmHomes.
func asmPlacement(t tree) (f findings) {
	for _, s := range t {
		if path.Ext(s.name) == ".s" && !slices.Contains(asmHomes, s.dir()) {
			f.add(s, "is assembly, which only %v may hold", asmHomes)
		}
	}
	return f
}

// linknamePlacement keeps go:linkname in linknameFile.
func linknamePlacement(t tree) (f findings) {
	for _, s := range t {
		if !s.isGo() || s.name == linknameFile {
			continue
		}
		for _, group := range s.ast.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					f.add(s, "uses go:linkname, which only %s may", linknameFile)
				}
			}
		}
	}
	return f
}

// unsafePlacement keeps unsafe out of the packages in safe. Their tests may
// use it, except in metrics.
func unsafePlacement(t tree) (f findings) {
	for _, s := range t {
		if s.isTest() && !s.in("metrics") || !slices.Contains(s.imports(), "unsafe") {
			continue
		}
		if slices.ContainsFunc(handlesObjects, s.in) {
			continue
		}
		for _, dir := range safe {
			if s.in(dir) {
				f.add(s, "imports unsafe, which %s has no need of", dir)
			}
		}
	}
	return f
}

// unlikeCalls are system calls that take other arguments on some systems: mmap the address of a
// block of arguments on s390x, clone another order there, fork and the like exist on few.
var unlikeCalls = []string{"SYS_MMAP", "SYS_MMAP2", "SYS_CLONE", "SYS_FORK", "SYS_VFORK", "SYS_FADVISE64", "SYS_SYNC_FILE_RANGE"}

// systemCalls keeps those out of files that are built for more than one processor: the functions of
// x/sys know the difference.
func systemCalls(t tree) (f findings) {
	for _, s := range t {
		if !s.isGo() || strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(s.name, ".go"), "_test"), "_amd64") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if use, ok := n.(*ast.SelectorExpr); ok && slices.Contains(unlikeCalls, use.Sel.Name) {
				f.add(s, "makes %s without x/sys, which takes other arguments on some systems", use.Sel.Name)
			}
			return true
		})
	}
	return f
}
