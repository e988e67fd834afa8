package lint

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// history are documents that speak of the code as it was.
func history(name string) bool { return name == "CHANGELOG.md" || path.Dir(name) == "docs/rfcs" }

// Inline code of a document that names something of ours: a test, a file, what a dot joins, or what
// is not exported and consists of several words.
var (
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	camelCase  = regexp.MustCompile(`^[a-z]+[A-Z]\w*(?:\(.*\))?$`)
	testName   = regexp.MustCompile(`^(Test|Example|Benchmark|Fuzz)[A-Z_]\w*$`)
	fileName   = regexp.MustCompile(`^[\w./-]+\.(go|s|c|h)$`)
	dotted     = regexp.MustCompile(`^(?:\w+\.)?(\w+)\.(\w+)(?:\(.*\))?$`)
)

// elsewhere are the first words of dotted names that are not ours, of Go's packages and of the
// benchmark's JSON, and files that are not.
var elsewhere = []string{
	"atomic", "context", "debug", "errors", "http", "runtime", "slog", "sync", "testing", "time",
	"unsafe", "summary", "extra", "mm/slub.c", "go_asm.h",
}

// namesExist reports names in documents that nothing in the module has: of tests, of files, and
// dotted ones such as a type's fields and methods or what a package declares. After a renaming the
// documents would otherwise speak of what was.
func namesExist(root fs.FS) (f findings, err error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	known := declared(t)
	err = eachDocument(root, func(name, text string) {
		if history(name) {
			return
		}
		for _, m := range inlineCode.FindAllStringSubmatch(withoutCode(text), -1) {
			code := m[1]
			d := dotted.FindStringSubmatch(code)
			switch {
			case testName.MatchString(code) && !known[code]:
				f = append(f, fmt.Sprintf("%s: no test is called %s", name, code))
			case fileName.MatchString(code):
				exists := func(s *source) bool { return s.name == code || strings.HasSuffix(s.name, "/"+code) }
				if !slices.ContainsFunc(t, exists) && !slices.Contains(elsewhere, code) {
					f = append(f, fmt.Sprintf("%s: no file is called %s", name, code))
				}
			case camelCase.MatchString(code) && !known["."+strings.TrimSuffix(code, "()")]:
				f = append(f, fmt.Sprintf("%s: nothing is called %s", name, code))
			case d != nil && len(d[1]) > 1 && !known[d[1]+"."+d[2]] && !slices.Contains(elsewhere, d[1]):
				f = append(f, fmt.Sprintf("%s: nothing is called %s", name, code))
			}
		}
	})
	return f, err
}

// declared returns the names that a document may use: of functions, and, with a dot, of what a
// package declares and of fields and methods of types. With nothing in front of the dot it is the
// name of anything.
func declared(t tree) map[string]bool {
	known := map[string]bool{}
	embeds := map[string][]string{} // by type, the structs that embed it
	for _, s := range t {
		if !s.isGo() {
			continue
		}
		pkg := strings.TrimSuffix(s.ast.Name.Name, "_test")
		eachStruct(s.ast, func(owner string, typ *ast.StructType) {
			fields(known, owner, typ.Fields)
			for _, e := range embedded(typ) {
				embeds[e] = append(embeds[e], owner)
			}
		})
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				owner := pkg
				if d.Recv != nil {
					owner = receiver(d.Recv.List[0].Type)
				} else {
					known[d.Name.Name] = true
				}
				known[owner+"."+d.Name.Name], known["."+d.Name.Name] = true, true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						known[pkg+"."+spec.Name.Name], known["."+spec.Name.Name] = true, true
						methods(known, spec.Name.Name, spec.Type)
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							known[pkg+"."+n.Name], known["."+n.Name] = true, true
						}
					}
				}
			}
		}
	}
	for name := range maps.Clone(known) {
		typ, field, _ := strings.Cut(name, ".")
		for _, owner := range embeds[typ] {
			known[owner+"."+field] = true
		}
	}
	return known
}

// embedded returns the names of the types that a struct embeds.
func embedded(typ *ast.StructType) (types []string) {
	for _, field := range typ.Fields.List {
		if len(field.Names) == 0 {
			types = append(types, receiver(field.Type))
		}
	}
	return types
}

// methods adds those of an interface.
func methods(known map[string]bool, owner string, typ ast.Expr) {
	if i, ok := typ.(*ast.InterfaceType); ok {
		fields(known, owner, i.Methods)
	}
}

func fields(known map[string]bool, owner string, list *ast.FieldList) {
	for _, field := range list.List {
		for _, n := range field.Names {
			known[owner+"."+n.Name], known["."+n.Name] = true, true
		}
		if len(field.Names) == 0 {
			known[owner+"."+receiver(field.Type)] = true // embedded
		}
	}
}

// receiver is the name of a type, without what surrounds it.
func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.IndexListExpr:
		return receiver(typ.X)
	case *ast.SelectorExpr:
		return typ.Sel.Name
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

// TestNamesBite runs the rule on documents with a name each, beside a package.
func TestNamesBite(t *testing.T) {
	const source = "package slub\n\ntype Cache struct{ mu int; in struct{ deep int } }\n\nfunc (c *Cache) Free() {}\n\n" +
		"func freeAll() {}\n\n" +
		"type List[T any] struct{ n int }\n\nfunc (l List[T]) Len() int { return 0 }\n\nvar all struct{ mu int }\n\nfunc TestFree() {}\n\n" +
		"type user struct{ *Cache }\n"
	for _, c := range []struct {
		code string
		good bool
	}{
		{"Cache.mu", true}, {"Cache.Free", true}, {"slub.Cache", true}, {"slub.Cache.Free", true},
		{"Cache.Free(p)", true}, {"List.Len", true}, {"List.n", true}, {"all.mu", true}, {"in.deep", true},
		{"TestFree", true}, {"sync.Mutex", true}, {"slub/cache.go", true}, {"cache.go", true}, {"go test", true},
		{"user.mu", true}, {"user.Free", true}, {"Cache.lock", false}, {"user.lock", false}, {"slub.Pool", false}, {"TestFreed", false}, {"slub/cash.go", false},
		{"Cache.Alloc()", false}, {"freeAll", true}, {"freeAll()", true}, {"freeMore", false}, {"free", true},
	} {
		root := fstest.MapFS{
			"slub/cache.go":    &fstest.MapFile{Data: []byte(source)},
			"docs/a.md":        &fstest.MapFile{Data: []byte("# A\n\nSee `" + c.code + "`.\n\n```\n`Cache.lock`\n```\n")},
			"docs/rfcs/a.md":   &fstest.MapFile{Data: []byte("# A\n\nIt was `Cache.lock`.\n")},
			"CHANGELOG.md":     &fstest.MapFile{Data: []byte("`Cache.lock`\n")},
			"docs/plain/no.md": &fstest.MapFile{Data: []byte("Cache.lock\n")},
		}
		if f, err := namesExist(root); err != nil || c.good != (len(f) == 0) || len(f) > 1 {
			t.Errorf("%s: found %q, %v", c.code, f, err)
		}
	}
}
