"""ONNX Runtime: an inference session. Its training API has left the CPU wheels."""

import os

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(w):
    nodes, constants, weights, source = [], [], iter(w.weights), "x"

    def add(op, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def constant(value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), f"w{len(constants)}"))
        return constants[-1].name

    def activated(source, name):
        return add({"relu": "Relu", "tanh": "Tanh"}[name], [source]) if name else source

    if len(w.inputs) == 3:
        source = add("Transpose", [source], perm=[0, 3, 1, 2])
    for stage in w.stages:
        if stage[0] == "dense":
            source = activated(add("Gemm", [source, constant(next(weights)), constant(next(weights))]), stage[2])
        elif stage[0] == "conv":
            kernel = constant(next(weights).transpose(3, 2, 0, 1))
            pad = "SAME_UPPER" if stage[3] == "same" else "VALID"
            source = activated(add("Conv", [source, kernel, constant(next(weights))], auto_pad=pad), stage[4])
        elif stage[0] == "maxpool":
            source = add("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])
        else:
            source = add("Flatten", [add("Transpose", [source], perm=[0, 2, 3, 1])])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [w.batch, *w.inputs])
    y = helper.make_tensor_value_info(source, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()


class Session:
    def __init__(self, w):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        options.inter_op_num_threads = 1
        self.w, self.session = w, onnxruntime.InferenceSession(model(w), options, providers=["CPUExecutionProvider"])
        self.x = [np.ascontiguousarray(b) for b in w.x]

    def run(self, steps):
        call, x, batches = self.session.run, self.x, self.w.batches
        for i in range(steps):
            call(None, {"x": x[i % batches]})

    def output(self):
        return self.session.run(None, {"x": self.x[0]})[0]


def variants(w):
    recurrent = any(s[0] in ("rnn", "lstm", "gru") for s in w.stages)
    return {"session": Session} if w.inference and not recurrent else {}
