package mistakes

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// names lists what a file declares, and the strings that it calls it by.
func names(t *testing.T, file string, tok token.Token) (declared, called []string) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			for _, spec := range n.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && n.Tok == tok && v.Names[0].IsExported() {
					declared = append(declared, v.Names[0].Name)
				}
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "made" {
				s, err := strconv.Unquote(n.Args[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				called = append(called, s)
			}
		}
		return true
	})
	return declared, called
}

// The two lists are one, and each mistake is called by its own name.
func TestListsAgree(t *testing.T) {
	constants, _ := names(t, "off.go", token.CONST)
	variables, called := names(t, "on.go", token.VAR)
	if len(constants) == 0 || !slices.Equal(constants, variables) || !slices.Equal(variables, called) {
		t.Errorf("off.go has %v\non.go has  %v\nmade of    %v", constants, variables, called)
	}
}
