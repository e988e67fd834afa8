package slub_test

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileOrder lists the files of package slub from upper to lower: a file refers to what the files
// below it declare. First comes what only users call, last what every file needs.
var fileOrder = []string{
	"doc.go", "engine.go", "malloc_live.go", "cache_live.go", "profile.go", "callsite.go", "typed_ref.go", "typed_prefill.go", "typed_local.go", "typed.go", "owner.go", "published.go", "pointer.go", "account_realloc.go", "account.go", "account_limit.go", "account_charge.go", "account_state.go", "group.go",
	"malloc_default.go", "malloc_slice.go", "malloc_bytes.go", "malloc_realloc.go", "malloc_stats.go", "malloc_bulk.go", "malloc_place.go", "malloc_nowait.go",
	"malloc_deferred.go", "malloc_hooks.go", "malloc.go", "malloc_large_free.go", "malloc_large_leak.go", "malloc_large_debug_check.go", "malloc_large_debug.go", "malloc_large.go", "malloc_large_freed.go", "malloc_large_charge.go", "malloc_close.go", "malloc_accounted.go", "malloc_buckets.go", "malloc_sequences.go", "malloc_registry.go", "malloc_pageclass.go", "malloc_classes.go",
	"cache_new.go", "cache_build.go", "cache_hooked.go",
	"cache_close.go", "cache_leak.go", "cache_leak_sampled.go", "cache_damage.go", "cache_hooks.go", "cache_tune.go", "cache_stats.go", "cache_stats_cpu.go", "cache_validate.go", "cache_debug_check.go",
	"cache_source.go", "local.go", "local_slow.go", "local_sample.go", "cache_reserve.go", "cache_wait.go", "cache_prefill_debug.go", "cache_prefill.go", "cache_prefill_mark.go", "cache_prefill_sample.go", "cache_nowait.go", "cache_node.go", "cache_alloc.go",
	"cache_reclaim.go", "group_reclaim.go",
	"rcu.go", "cache_deferred.go", "cache_bulk.go", "cache_mark.go", "cache_sheafcheck.go", "cache_account.go", "callsite_table.go", "account_table.go", "cache_hardened_slab.go", "cache_hardened.go", "cache_free.go", "cache_failslab.go", "cache_sample.go", "cache_guard.go", "cache_governor.go", "cache_instrument.go", "cache_hooked.go", "cache_debug_report.go", "cache_debug_quarantine.go", "cache_debug.go",
	"sanitize_asan.go", "sanitize_race.go", "sanitize_off.go",
	"local_state.go", "cache_merge.go", "cache_registry.go", "cache_lease.go", "cache.go",
	"cache_layout.go", "cache_debug_config.go", "rcu_backlog.go", "cache_config.go", "group_members.go", "group_charge.go", "cache_order.go", "cache_hookset.go", "cache_event.go", "cache_failure.go", "environment.go",
	"errors_config.go", "errors.go", "closeflag.go",
}

// maxUpward is the share of references between files that may run against fileOrder, in percent.
const maxUpward = 10

// References between the package's files run down fileOrder: from the top down, a reader finds
// what a file needs further down.
func TestFilesReferDownwards(t *testing.T) {
	upward, all := references(t)
	total, against := 0, 0
	for _, n := range all {
		total += n
	}
	var list []string
	for edge, n := range upward {
		against += n
		list = append(list, fmt.Sprintf("%4d %s", n, edge))
	}
	slices.Sort(list)
	slices.Reverse(list)
	text := fmt.Sprintf("%d of %d references between files run upwards:\n%s", against, total, strings.Join(list, "\n"))
	if t.Log(text); total == 0 || against*100 > maxUpward*total {
		t.Errorf("more than %d %% of the references run upwards", maxUpward)
	}
}

// references counts the identifiers of each file that another file declares, by "file -> file":
// those that run against fileOrder, and all.
func references(t *testing.T) (upward, all map[string]int) {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	place := map[string]int{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if place[name] = slices.Index(fileOrder, name); place[name] < 0 {
			t.Fatalf("%s has no place in fileOrder", name)
		}
		if ok, err := build.Default.MatchFile(".", name); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, name := range fileOrder {
		if _, exists := place[name]; !exists {
			t.Errorf("fileOrder has %s, which does not exist", name)
		}
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	checker := types.Config{Importer: importer.ForCompiler(fset, "gc", exports(t))}
	pkg, err := checker.Check("github.com/slubd/slubd/slub", fset, files, &info)
	if err != nil {
		t.Fatal(err)
	}
	upward, all = map[string]int{}, map[string]int{}
	for id, object := range info.Uses {
		if object.Pkg() != pkg {
			continue
		}
		from, to := fset.Position(id.Pos()).Filename, fset.Position(object.Pos()).Filename
		if from == to {
			continue
		}
		all[from+" -> "+to]++
		if place[from] > place[to] {
			upward[from+" -> "+to]++
		}
	}
	return upward, all
}

// exports returns a function that opens the compiler's export data of a package that slub
// imports.
func exports(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}
