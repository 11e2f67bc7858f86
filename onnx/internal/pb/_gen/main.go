// Command gen makes Go of a .proto file without protoc:
//
//	go run . ../onnx.proto ../onnx.pb.go
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// name is what the file is called in protobuf's table, see package pb.
const name = "vkconv/onnx.proto"

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(source, target string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	renamed := strings.Replace(string(text), "\npackage onnx;\n", "\npackage vkconv.onnx;\n", 1)
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{name: renamed})},
		SourceInfoMode: protocompile.SourceInfoStandard, // with the comments
	}
	files, err := compiler.Compile(context.Background(), name)
	if err != nil {
		return err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{name},
		Parameter:      proto.String("paths=source_relative,M" + name + "=vkconv/onnx/internal/pb"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
	})
	if err != nil {
		return err
	}
	for _, f := range plugin.Files {
		internal_gengo.GenerateFile(plugin, f)
	}
	answer := plugin.Response()
	if answer.Error != nil {
		return fmt.Errorf("%s", *answer.Error)
	}
	return os.WriteFile(target, []byte(answer.File[0].GetContent()), 0o666)
}
