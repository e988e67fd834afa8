package mistakes

import (
	"bytes"
	"fmt"
	"go/ast"
	gobuild "go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
)

// A suite is the files of tests in a directory, from which reduced takes what one of the tests
// needs. To compile the rest of them with every mistake would take most of the time.
type suite struct {
	name  string // of the package that is tested
	fset  *token.FileSet
	files map[string]*testFile // by name
	parts []*part
}

type testFile struct {
	text    []byte
	imports map[string]ast.Node // by the name in the file
}

// A part is a declaration at package level, and what ties it to the others of its directory: names
// that it declares and names that it mentions. They are written as
//
//	pkg.Name    a function, type, variable or constant of a package
//	pkg.Type.   a method of a type that the tests declare
//	.Method     a method of another type
//	import pkg  what the file calls an imported package
type part struct {
	file               string
	from, to           token.Pos // with the comment before it
	declares, mentions map[string]bool
}

// parseSuite reads those files of tests in a directory that are built on this machine with the tag,
// or without one.
func parseSuite(dir, tag string) (*suite, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	s := &suite{filepath.Base(dir), token.NewFileSet(), map[string]*testFile{}, nil}
	packages := map[string][]*ast.File{}
	builds := gobuild.Default
	builds.BuildTags = append(slices.Clone(builds.BuildTags), tag)
	for _, path := range paths {
		name := filepath.Base(path)
		if built, err := builds.MatchFile(dir, name); err != nil {
			return nil, err
		} else if !built {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files[name] = &testFile{text, map[string]ast.Node{}}
		packages[file.Name.Name] = append(packages[file.Name.Name], file)
	}
	for name, files := range packages {
		s.add(name, files)
	}
	return s, nil
}

// add adds the declarations of a package. The type checker finds which declaration a name stands
// for. It is given nothing but the tests: its errors, for what other files declare, mean nothing.
func (s *suite) add(name string, files []*ast.File) {
	info := types.Info{Uses: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{}}
	checker := types.Config{Error: func(error) {}, Importer: namesOnly{}}
	pkg, _ := checker.Check(name, s.fset, files, &info)
	for _, file := range files {
		name := s.fset.Position(file.Package).Filename
		for _, d := range file.Decls {
			p := &part{name, d.Pos(), d.End(), map[string]bool{}, map[string]bool{}}
			var doc *ast.CommentGroup
			switch d := d.(type) {
			case *ast.FuncDecl:
				doc = d.Doc
				p.declareFunc(pkg, d)
			case *ast.GenDecl:
				if d.Tok == token.IMPORT {
					s.files[name].imported(d, info.Implicits)
					continue
				}
				doc = d.Doc
				for _, spec := range d.Specs {
					p.declareSpec(pkg.Name(), spec)
				}
			}
			if doc != nil {
				p.from = doc.Pos()
			}
			p.mention(pkg, info.Uses, d)
			s.parts = append(s.parts, p)
		}
	}
}

// imported notes what a declaration imports. One without parentheses can't be without its entry.
func (f *testFile) imported(d *ast.GenDecl, implicits map[ast.Node]types.Object) {
	for _, spec := range d.Specs {
		spec := spec.(*ast.ImportSpec)
		var name string
		if spec.Name != nil {
			name = spec.Name.Name
		} else if pkg := implicits[spec]; pkg != nil {
			name = pkg.Name()
		}
		f.imports[name] = spec
		if !d.Lparen.IsValid() {
			f.imports[name] = d
		}
	}
}

// namesOnly imports packages of which nothing is known but their names.
type namesOnly struct{}

var version = regexp.MustCompile(`^v\d+$`)

func (namesOnly) Import(of string) (*types.Package, error) {
	name := path.Base(of)
	if version.MatchString(name) {
		name = path.Base(path.Dir(of))
	}
	pkg := types.NewPackage(of, name)
	pkg.MarkComplete()
	return pkg, nil
}

// declareFunc notes what the declaration of a function declares.
func (p *part) declareFunc(pkg *types.Package, d *ast.FuncDecl) {
	if d.Recv == nil {
		p.declares[pkg.Name()+"."+d.Name.Name] = true
		return
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch generic := typ.(type) {
	case *ast.IndexExpr:
		typ = generic.X
	case *ast.IndexListExpr:
		typ = generic.X
	}
	if name := typ.(*ast.Ident).Name; pkg.Scope().Lookup(name) != nil {
		p.declares[pkg.Name()+"."+name+"."] = true
	} else {
		p.declares["."+d.Name.Name] = true
	}
}

// declareSpec notes what an entry of another declaration declares. A type needs its methods.
func (p *part) declareSpec(pkg string, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		p.declares[pkg+"."+spec.Name.Name] = true
		p.mentions[pkg+"."+spec.Name.Name+"."] = true
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			p.declares[pkg+"."+n.Name] = true
		}
	}
}

// mention notes what a declaration mentions.
func (p *part) mention(pkg *types.Package, uses map[*ast.Ident]types.Object, d ast.Decl) {
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if obj := uses[n]; obj != nil && obj.Parent() == pkg.Scope() {
				p.mentions[pkg.Name()+"."+n.Name] = true
			} else if _, ok := obj.(*types.PkgName); ok {
				p.mentions["import "+n.Name] = true
			}
		case *ast.SelectorExpr:
			p.mentions["."+n.Sel.Name] = true
			if x, ok := n.X.(*ast.Ident); ok {
				p.mentions[x.Name+"."+n.Sel.Name] = true
			}
		}
		return true
	})
}

// reduced returns what is left of the files' texts, by their names, if nothing stays but what a
// test needs, and what runs before any test. Lines keep their numbers. A file of which nothing
// stays is nil. Were too little left, the test would not compile.
func (s *suite) reduced(test string) (map[string][]byte, error) {
	needed := map[*part]bool{}
	var queue []*part
	need := func(names map[string]bool) {
		for _, p := range s.parts {
			for name := range p.declares {
				if names[name] && !needed[p] {
					needed[p] = true
					queue = append(queue, p)
				}
			}
		}
	}
	inside, outside := s.name+".", s.name+"_test."
	need(map[string]bool{inside + test: true, outside + test: true})
	if len(queue) == 0 {
		return nil, fmt.Errorf("%s has no test %s", s.name, test)
	}
	for _, first := range []string{"init", "TestMain"} {
		need(map[string]bool{inside + first: true, outside + first: true})
	}
	for i := 0; i < len(queue); i++ {
		need(queue[i].mentions)
	}

	texts := map[string][]byte{}
	mentions := map[string]map[string]bool{}
	for name := range s.files {
		texts[name] = nil
		mentions[name] = map[string]bool{}
	}
	for _, p := range queue {
		texts[p.file] = bytes.Clone(s.files[p.file].text)
		maps.Copy(mentions[p.file], p.mentions)
	}
	for _, p := range s.parts {
		if !needed[p] {
			s.blank(texts[p.file], p.from, p.to)
		}
	}
	for name, f := range s.files {
		for as, i := range f.imports {
			if as != "" && as != "_" && !mentions[name]["import "+as] {
				s.blank(texts[name], i.Pos(), i.End())
			}
		}
	}
	return texts, nil
}

// blank overwrites a part of a text, unless the text is nil, with blanks.
func (s *suite) blank(text []byte, from, to token.Pos) {
	if text == nil {
		return
	}
	part := text[s.fset.Position(from).Offset:s.fset.Position(to).Offset]
	for i, c := range part {
		if c != '\n' {
			part[i] = ' '
		}
	}
}
