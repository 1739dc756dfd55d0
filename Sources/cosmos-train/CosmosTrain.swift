import ArgumentParser
import TensorCore

@main
struct CosmosTrain: ParsableCommand {
    func run() {
        print(LinearAlgebraLibrary.coreName)
    }
}
