//go:build ignore

// Gen writes the loops of loops.go.tmpl once for each allocator: loops_cache.go, loops_local.go,
// loops_malloc.go, loops_heap.go and loops_pool.go, those of timed.go.tmpl for each that has
// objects of one size, and that of trace.go.tmpl for each that has sizes, into the directory that
// its argument names.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

// allocator is what the loops differ in. Snippets that take a pointer have a %s for it.
type allocator struct {
	Name         string // of the file
	Thread       string // type with the loops' state
	Object       string // type of a kept object
	None         string // zero value of Object
	Fixed, Sized bool   // the loops that it has
	Begin        string // before a loop that allocates objects of one size
	BeginFree    string // before a loop that only frees them
	Alloc        string // sets p, and err if Fails
	Fails        bool
	Free         string // frees an object whose slot is overwritten or cleared afterwards
	Drop         string // frees one whose slot is left alone; empty: as Free
	FreeNew      string // frees one that has no slot; empty: as Free
	Ptr, Keep    string // conversions from Object and to it
}

var allocators = []allocator{
	{
		Name: "cache", Thread: "cacheThread", Object: "ref", None: "ref{}", Fixed: true,
		Begin: "c := t.cache", BeginFree: "c := t.cache",
		Alloc: "p, err := c.Alloc()", Fails: true, Free: "c.Free(%s)",
		Ptr: "pointer(%s)", Keep: "refOf(%s)",
	},
	{
		Name: "local", Thread: "localThread", Object: "ref", None: "ref{}", Fixed: true,
		Begin: "l := t.local", BeginFree: "l := t.local",
		Alloc: "p, err := l.Alloc()", Fails: true, Free: "l.Free(%s)",
		Ptr: "pointer(%s)", Keep: "refOf(%s)",
	},
	{
		Name: "malloc", Thread: "mallocThread", Object: "ref", None: "ref{}", Sized: true,
		Alloc: "p, err := slub.Malloc(size)", Fails: true, Free: "slub.Free(%s)",
		Ptr: "pointer(%s)", Keep: "refOf(%s)",
	},
	{
		// The Go heap frees what no pointer is left to. ring keeps objects off the stack.
		Name: "heap", Thread: "heapThread", Object: "unsafe.Pointer", None: "nil", Fixed: true, Sized: true,
		Begin: "size := t.spec.Size", Alloc: "p := newObject(size)",
		Drop: "%s = nil", FreeNew: "t.ring[i%%ringSize] = %s",
		Ptr: "%s", Keep: "%s",
	},
	{
		Name: "pool", Thread: "poolThread", Object: "unsafe.Pointer", None: "nil", Fixed: true,
		Begin: "pool := t.pool", BeginFree: "pool := t.pool",
		Alloc: "p := get(pool)", Free: "put(pool, %s)",
		Ptr: "%s", Keep: "%s",
	},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: go run gen.go DIRECTORY")
	}
	for _, name := range []string{"loops", "timed", "trace"} {
		text, err := os.ReadFile(name + ".go.tmpl")
		if err != nil {
			log.Fatal(err)
		}
		for _, a := range allocators {
			if name == "timed" && !a.Fixed || name == "trace" && !a.Sized {
				continue
			}
			source, err := a.generate(string(text))
			if err == nil {
				err = os.WriteFile(filepath.Join(os.Args[1], name+"_"+a.Name+".go"), source, 0o644)
			}
			if err != nil {
				log.Fatalf("%s: %v", a.Name, err)
			}
		}
	}
}

// blank matches an empty line within a function, where a snippet is empty.
var blank = regexp.MustCompile(`\n[\t ]*\n(\t|})`)

// generate returns the text of the allocator's file.
func (a allocator) generate(text string) ([]byte, error) {
	insert := func(snippet string) func(string) string {
		return func(x string) string {
			if snippet == "" {
				return ""
			}
			return fmt.Sprintf(snippet, x)
		}
	}
	or := func(snippet, other string) string {
		if snippet == "" {
			return other
		}
		return snippet
	}
	ptr, free := insert(a.Ptr), insert(a.Free)
	drop := func(x, converted string) string {
		if a.Drop == "" {
			return free(converted)
		}
		return insert(a.Drop)(x)
	}
	t, err := template.New("loops").Funcs(template.FuncMap{
		"alloc": func() string { return a.Alloc },
		"check": func() string {
			if !a.Fails {
				return ""
			}
			return "if err != nil {\nreturn err\n}"
		},
		"draw": func() string { return "size := int(t.sizes[t.random.Draw(uint32(len(t.sizes)))])" },
		"keep": insert(a.Keep), "ptr": ptr, "free": free,
		"freeNew":     func() string { return insert(or(a.FreeNew, a.Free))("p") },
		"drop":        func(x string) string { return drop(x, ptr(x)) },
		"dropPointer": func(x string) string { return drop(x, x) },
		"timedFree": func(x string) string {
			if a.Free == "" {
				return "r.Skip()"
			}
			return "old := " + ptr(x) + "\nr.Begin()\n" + free("old") + "\nr.End(tail.Free)"
		},
		"readFree": func(x string) string { return "t.add(first(" + ptr(x) + "))\n" + free(ptr(x)) },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, a); err != nil {
		return nil, err
	}
	source := b.String()
	for blank.MatchString(source) {
		source = blank.ReplaceAllString(source, "\n$1")
	}
	return format.Source([]byte(strings.Replace(source, "package loops\n", "package loops\n\n"+imports(source), 1)))
}

// imports returns the import declaration that a file with such a text needs, if any.
func imports(source string) string {
	text, some := "import (\n", false
	for _, path := range []string{
		"sync/atomic", "unsafe", "",
		"github.com/slubd/slubd/cmd/slubd-bench/internal/tail", "github.com/slubd/slubd/cmd/slubd-bench/internal/workload",
		"github.com/slubd/slubd/slub",
	} {
		switch {
		case path == "":
			text += "\n"
		case strings.Contains(source, filepath.Base(path)+"."):
			text, some = text+fmt.Sprintf("%q\n", path), true
		}
	}
	if !some {
		return ""
	}
	return text + ")\n"
}
