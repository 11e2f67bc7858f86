package vkconv_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// Every operator has an example in go doc, and everything exported a sentence.
func TestDocs(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	examples, plans := map[string]bool{}, 0
	var declared []ast.Decl
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example") {
				examples[f.Name.Name] = true
			}
		}
		if !strings.HasSuffix(f.Name(), "_test.go") {
			declared = append(declared, parsed.Decls...)
		}
	}
	for _, d := range declared {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			of, exported := receiver(d)
			if !exported || !d.Name.IsExported() {
				continue
			}
			if d.Doc == nil {
				t.Errorf("%s%s says nothing", of, name)
			}
			if of == "Engine." && strings.HasPrefix(name, "New") && !strings.HasPrefix(name, "NewTensor") {
				if plans++; !examples["ExampleEngine_"+name] {
					t.Errorf("%s has no example", name)
				}
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					t.Errorf("%s says nothing", s.Name.Name)
				}
			}
		}
	}
	if plans < 30 {
		t.Errorf("%d operators were found", plans)
	}
}

// receiver names a method's type, with a dot behind; exported is whether users see it.
func receiver(d *ast.FuncDecl) (name string, exported bool) {
	if d.Recv == nil {
		return "", true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name + ".", id.IsExported()
}
