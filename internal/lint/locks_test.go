package lint

import (
	"go/ast"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// lockTable is the document with all locks of the library, outer to inner.
const lockTable = "docs/reference/locking.md"

// lockRow matches a row of lockTable: a lock, as a type or variable and its field, and its package.
var lockRow = regexp.MustCompile("(?m)^\\| *`(\\w+\\.\\w+)`[^|]*\\| *`?([\\w/]+)`? *\\|")

// lockTypes are the types of fields that have to be in lockTable. Locks of other kinds, such as a
// stack's gate, are there too.
var lockTypes = []string{"sync.Mutex", "sync.RWMutex", "lock.Mutex"}

// lockSection matches the part of a package comment that is about its locks.
var lockSection = regexp.MustCompile(`(?ms)^# Lock.*?$(.*?)(^# |\z)`)

// locksListed compares lockTable with the code: every lock of the library is in the table, and
// everything in the table is in the code. A struct has the locks of what it embeds, too, and the
// table may list them as its own. The package comments name locks of their own only, in the table's
// order.
func locksListed(root fs.FS) (f findings, err error) {
	table, err := fs.ReadFile(root, lockTable)
	if err != nil {
		return nil, err
	}
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	var order []string // package and lock
	for _, m := range lockRow.FindAllSubmatch(table, -1) {
		order = append(order, string(m[2])+" "+string(m[1]))
	}
	inCode := map[string]bool{}   // locks, and what else has a field
	within := map[string]string{} // by package and type, a struct that embeds it
	for _, s := range t {
		if s.isGo() {
			eachStruct(s.ast, func(owner string, typ *ast.StructType) {
				for _, e := range embedded(typ) {
					within[s.dir()+" "+e] = owner
				}
			})
		}
	}
	for _, s := range t {
		if !s.isGo() || s.isTest() || isProgram(s.dir()) || s.dir() == "internal/testutil" {
			continue
		}
		fields := map[string]string{} // types by field
		eachStruct(s.ast, func(owner string, typ *ast.StructType) {
			for _, field := range typ.Fields.List {
				for _, n := range field.Names {
					fields[owner+"."+n.Name] = typeName(field.Type)
				}
				if len(field.Names) == 0 {
					fields[owner+"."+receiver(field.Type)] = typeName(field.Type)
				}
			}
		})
		for name, typ := range fields {
			key := s.dir() + " " + name
			owner, field, _ := strings.Cut(name, ".")
			promoted := s.dir() + " " + within[s.dir()+" "+owner] + "." + field
			inCode[key], inCode[promoted] = true, true
			if slices.Contains(lockTypes, typ) && !slices.Contains(order, key) && !slices.Contains(order, promoted) {
				f.add(s, "has the lock %s, which %s doesn't list", name, lockTable)
			}
		}
	}
	for _, key := range order {
		if !inCode[key] {
			f = append(f, lockTable+": lists "+key+", which is not in the code")
		}
	}
	return append(f, lockComments(t, order)...), nil
}

// lockComments holds the sections of package comments about locks to the table.
func lockComments(t tree, order []string) (f findings) {
	for _, s := range t {
		if !s.isGo() || s.isTest() || s.ast.Doc == nil {
			continue
		}
		section := lockSection.FindStringSubmatch(s.ast.Doc.Text())
		if section == nil {
			continue
		}
		last, lastAt := "", -1
		for _, key := range order {
			pkg, name, _ := strings.Cut(key, " ")
			at := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).FindStringIndex(section[1])
			switch {
			case at == nil:
			case pkg != s.dir():
				if !slices.Contains(order, s.dir()+" "+name) {
					f.add(s, "speaks of %s, a lock of %s", name, pkg)
				}
			case at[0] < lastAt:
				f.add(s, "has %s before %s, unlike %s", name, last, lockTable)
			default:
				last, lastAt = name, at[0]
			}
		}
	}
	return f
}

// eachStruct calls do with the structs of a file: those of types and of variables by their names,
// those within by the names of their fields.
func eachStruct(file *ast.File, do func(owner string, typ *ast.StructType)) {
	var visit func(owner string, typ ast.Expr)
	visit = func(owner string, typ ast.Expr) {
		s, ok := typ.(*ast.StructType)
		if !ok {
			return
		}
		do(owner, s)
		for _, field := range s.Fields.List {
			for _, n := range field.Names {
				visit(n.Name, field.Type)
			}
		}
	}
	for _, d := range file.Decls {
		general, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				visit(spec.Name.Name, spec.Type)
			case *ast.ValueSpec:
				visit(spec.Names[0].Name, spec.Type)
				for _, value := range spec.Values {
					if literal, ok := value.(*ast.CompositeLit); ok {
						visit(spec.Names[0].Name, literal.Type)
					}
				}
			}
		}
	}
}

// typeName is a type as it is written, where that is a name.
func typeName(typ ast.Expr) string {
	if sel, ok := typ.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok {
			return pkg.Name + "." + sel.Sel.Name
		}
	}
	return receiver(typ)
}

// TestLocksBite breaks a tree in which table, code and comment agree in one place at a time.
func TestLocksBite(t *testing.T) {
	good := map[string]string{
		lockTable: "| lock | package | |\n|---|---|---|\n| `Cache.mu` | `slub` | |\n| `Stack.gate` (main) | `slub` | |\n" +
			"| `node.mu` | `slub` | |\n| `names.mu` | `arena` | |\n",
		"slub/a.go": "// Package slub is one.\n//\n// # Locks, outer to inner\n//\n//\tCache.mu\n//\t  node.mu\n//\n" +
			"// # Other\n//\n// names.mu\npackage slub\n\ntype Cache struct{ mu sync.Mutex }\n\n" +
			"type node struct{ *words }\n\ntype words struct{ mu lock.Mutex }\n\ntype Stack struct{ gate uint64 }\n",
		"arena/a.go":      "package arena\n\nvar names = struct{ mu sync.RWMutex }{}\n",
		"arena/a_test.go": "package arena\n\nvar test struct{ mu sync.Mutex }\n",
		"cmd/a/main.go":   "package main\n\nvar all struct{ mu sync.Mutex }\n",
	}
	for _, c := range []struct{ file, old, new string }{
		{"", "", ""},
		{lockTable, "| `node.mu` | `slub` | |\n", ""},
		{lockTable, "| `names.mu` | `arena` | |\n", ""},
		{lockTable, "`arena`", "`numa`"},
		{lockTable, "`Stack.gate`", "`Stack.head`"},
		{"slub/a.go", "type words struct{ mu", "type words struct{ mutex"}, {"slub/a.go", "type node struct{ *words", "type node struct{ n int"},
		{"slub/a.go", "gate uint64", "gate uint64; lock sync.Mutex"},
		{"slub/a.go", "gate uint64", "gate uint64; sync.Mutex"},
		{"slub/a.go", "//\tCache.mu\n//\t  node.mu\n", "//\tnode.mu\n//\t  Cache.mu\n"},
		{"slub/a.go", "  node.mu", "  names.mu"},
		{"arena/a.go", "names", "labels"},
	} {
		root, files := fstest.MapFS{}, maps.Clone(good)
		files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
		for name, text := range files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		delete(root, "")
		if f, err := locksListed(root); err != nil || (c.file != "") != (len(f) > 0) || len(f) > 2 {
			t.Errorf("%q for %q in %s: found %q, %v", c.new, c.old, c.file, f, err)
		}
	}
}
